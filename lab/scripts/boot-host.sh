#!/bin/bash
# boot-host.sh HOST_DIR PID_FILE DB_DIR DB_MODE GEO_DB_DIR: boots a lab host and stays as its pid 1.
# Runs in fresh mount, pid, uts and ipc namespaces, already in the host's network namespace.
# HOST_DIR holds etc var opt root home srv usr-local and, for non-root users, setuid (the lab's own sudo).
# DB_DIR '' means: no GitLab on this host, or one with its own databases. DB_MODE is rw, or ro for a replicated
# database. BOOT_SECONDS pass before sshd answers. REGISTRY is the binary to use as the registry.
set -euo pipefail
host=$1 pid_file=$2 db=$3 db_mode=$4 geo_db=$5

# /proc is still the lab's, so this is this process's pid in the lab.
read -r pid _ </proc/self/stat
hostname "$(cat "$host/etc/hostname")"

root=$host/.root
mkdir -p "$root"
mount -t tmpfs -o mode=755 lab-root "$root"
cd "$root"
mkdir usr etc var opt root home srv proc dev dev/pts dev/shm tmp run sys .old
chmod 1777 tmp dev/shm
for d in bin sbin lib lib64; do ln -s "usr/$d" "$d"; done

# --rbind: a user namespace cannot bind part of a tree that has other mounts below it.
mount --rbind /usr usr
# Root must not be able to write to the machine's own /usr. A non-root user cannot anyway, and
# may not be allowed to remount it.
mount -o remount,ro,bind usr 2>/dev/null || [ "$(stat -c %u /usr)" != 0 ]
for d in etc var opt root home srv; do mount --bind "$host/$d" "$d"; done
mount --bind "$host/usr-local" usr/local
if [ -d "$host/setuid" ]; then
    # Seen from a user namespace the machine's sudo belongs to nobody, so its setuid bit means nothing.
    mount --bind "$host/setuid/sudo" usr/bin/sudo
    mount --bind "$host/setuid/libexec" usr/libexec/sudo
fi
# After a power cut, the old status files of runit would be misleading.
rm -rf {opt/gitlab,etc}/sv/*/{,log/}supervise
if [ -n "${REGISTRY:-}" ] && [ -e opt/gitlab/embedded/bin/registry ]; then
    mount --bind "$REGISTRY" opt/gitlab/embedded/bin/registry
fi
if [ -n "$db" ]; then
    mount --bind "$db" var/opt/gitlab/postgresql
    [ "$db_mode" = rw ] || mount -o remount,ro,bind var/opt/gitlab/postgresql
    mount --bind "$geo_db" var/opt/gitlab/geo-postgresql
fi

mount -t proc proc proc
for n in null zero full random urandom tty; do
    : >"dev/$n"
    mount --bind "/dev/$n" "dev/$n"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%%:*}" "dev/${n#*:}"; done
mkdir -p run/sshd run/sudo

# Written before the pivot: afterwards the lab's directories are inaccessible.
echo "$pid" >"$pid_file.new"
mv "$pid_file.new" "$pid_file"
pivot_root . .old
umount -l .old
rmdir .old

for services in /opt/gitlab/service /etc/service; do
    if [ -d "$services" ]; then runsvdir -P "$services" & fi
done
sleep "${BOOT_SECONDS:-0}"
/usr/sbin/sshd -D -E /var/log/auth.log &
# The final stage of cloud-init, only once.
final=/var/lib/cloud/final
if [ -e "$final" ]; then
    mv "$final" "$final.begun"
    setsid bash "$final.begun" >>/var/log/cloud-init-output.log 2>&1 </dev/null &
fi
# bash reaps orphans on this host; its end would be a power cut.
sleep infinity &
wait
