#!/bin/sh
# A Python interpreter in a lab of its own: what pytest-xdist starts as a worker, so that tests of labs run side by side.
cd "$(dirname "$0")/../.." || exit 1
mkdir -p .lab
for number in 1 2 3 4 5 6 7 8; do
    # Held by this process, and by what it becomes, until its end.
    exec 9>".lab/worker-$number.lock"
    if flock --nonblock 9; then
        exec .venv/bin/python -m lab run --name "test-$number" --quiet --here -- python "$@"
    fi
done
echo "too many labs of tests at once" >&2
exit 1
