#!/bin/sh
# A Python interpreter in its own lab: pytest-xdist starts it as a worker, so that tests with labs run in parallel.
cd "$(dirname "$0")/../.." || exit 1
mkdir -p .lab
for number in 1 2 3 4 5 6 7 8; do
    # Held by this process, also after exec, until it ends.
    exec 9>".lab/worker-$number.lock"
    if flock --nonblock 9; then
        exec .venv/bin/python -m lab run --name "test-$number" --quiet --here -- python "$@"
    fi
done
echo "too many labs are running tests" >&2
exit 1
