# Gives the tree $1, which mmdebstrap is making, an archive of its own in /srv/archive, and nothing else to ask: with it
# packages are built and tested where there is no network.
#   binaries  what it has besides what they need       sources  what it has the sources of       suite  how it is called
set -eu
archive="$1/srv/archive"
mkdir -p "$archive" "$1/srv/partial/partial"
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get -qq --yes --download-only -o Dir::Cache::Archives="$1/srv/partial" install $binaries
mv "$1"/srv/partial/*.deb "$archive"
rm -r "$1/srv/partial"
cd "$archive"
apt-get -qq --download-only -o APT::Sandbox::User=root source $sources
chmod 644 *
chroot "$1" sh -euc '
    cd /srv/archive
    dpkg-scanpackages --multiversion . >Packages
    dpkg-scansources . >Sources
    {
        printf "Suite: %s\nCodename: %s\nDate: %s\nSHA256:\n" "$0" "$0" "$(LC_ALL=C date -uR)"
        for file in Packages Sources; do
            echo " $(sha256sum <$file | cut -d " " -f 1) $(stat -c %s $file) $file"
        done
    } >Release
' "$suite"
printf '%s [trusted=yes] file:/srv/archive ./\n' deb deb-src >"$1/etc/apt/sources.list"
rm -f "$1"/etc/apt/sources.list.d/*
