# One node's part over one SSH session: `sudo sh -s` reads this from stdin, @…@ replaced. Run as root; POSIX sh.
set -eu
umask 077
cd /etc/gitlab
changed=
line="from_file '/etc/gitlab/geo-registry.rb' if File.exist?('/etc/gitlab/geo-registry.rb')"

# place NAME MODE: what stdin says becomes the file NAME, at once, if it is different
place() {
    cat >".$1.new"
    if cmp -s ".$1.new" "$1"; then
        rm ".$1.new"
    else
        chmod "$2" ".$1.new"
        mv ".$1.new" "$1"
        changed=yes
    fi
}

of() { sha256sum <"/var/opt/gitlab/registry/$1"; }

place geo-registry.json 600 <<'END'
@SECRETS@
END
place geo-registry.rb 644 <<'END'
@SETTINGS@
END
if ! grep -qxF "$line" gitlab.rb; then
    echo "$line" >>gitlab.rb
    changed=yes
fi
[ -n "$changed" ] || exit 0

certificate=$(of gitlab-registry.crt)
config=$(of config.yml)
gitlab-ctl reconfigure
if [ "$(of gitlab-registry.crt)" != "$certificate" ] && [ "$(of config.yml)" = "$config" ]; then
    gitlab-ctl restart registry
fi
/opt/gitlab/embedded/bin/ruby --disable-gems - '@FACTS@' <<'END'
@PROVE@
END
