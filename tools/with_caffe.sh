#!/bin/bash
# Runs a command where a real Caffe is: on this system if it has one, else in Debian 11's own, made once and cached.
set -eu
shopt -s extglob nullglob

usage() {
    cat <<'END'
usage: with_caffe.sh [--python 2.7] COMMAND [ARGUMENT]...

Runs COMMAND where `caffe` and `import caffe` work, with the interpreter in $PYTHON and this project's packages on
PYTHONPATH; a COMMAND that ends in .py is run by $PYTHON, and the commands of this project are found by name. Uses the
Caffe on the PATH, if python or python3 imports it; else Debian 11's, in a root file system made once (about two minutes
and 800 MB) under ${XDG_CACHE_HOME:-~/.cache}/caffe-losses. Your files are at their own paths there; of /etc, /usr and
/var, which are Debian's and read-only, only this checkout, HOME and the current folder. COMMAND gets the signals that
are sent to with_caffe.sh, whose process it is; what it leaves running is ended with it.

    tools/with_caffe.sh caffe train -solver solver.prototxt

--python 2.7: with Python 2.7 only. The root file system is then another one, in which Debian 11's Caffe is built for it
once (about five minutes and 600 MB) in /opt/caffe, where the image bvlc/caffe:gpu has it.
CAFFE_LOSSES_MIRROR: the URL of a mirror of Debian, for a machine that does not reach the usual one.
END
}

say() { printf 'with_caffe: %s\n' "$*" >&2; }
die() { say "$@"; exit 2; }

version=3
case ${1-} in
    -h | --help) usage; exit ;;
    --python)
        [[ ${2-} == 2.7 ]] || die "--python takes only 2.7, not ${2:-nothing}"
        version=2.7
        shift 2 ;;
esac
if [[ -z ${1-} ]]; then usage >&2; exit 2; fi

script=$(readlink -f -- "${BASH_SOURCE[0]}")
checkout=${script%/*/*}
[[ $checkout != *:* ]] || die "expected a checkout without a colon in its path, which PYTHONPATH cannot hold, got" \
    "$checkout: move or rename the folder"

# An empty entry in PYTHONPATH would mean the current directory.
python_path() {
    local entry path='' IFS=:
    set -f
    for entry in ${PYTHONPATH-} "$checkout/layers" "$checkout/prototxt" "$checkout/tools"; do
        case :$path: in *:"$entry":*) continue ;; esac
        [[ -z $entry ]] || path+=${path:+:}$entry
    done
    set +f
    printf %s "$path"
}

# A script of that name, or else the project's command.
find_command() {
    if [[ ! -e $1 && -e $checkout/tools/$1 ]]; then printf %s "$checkout/tools/$1"; else printf %s "$1"; fi
}

find_python() {
    local name said='there is no python' program
    # Not `import caffe`: a mere folder of that name satisfies it.
    program='from caffe import Net'
    if [[ $version == 2.7 ]]; then program+='; import sys; sys.version_info[:2] == (2, 7) or sys.exit(sys.version)'; fi
    for name in python "python$version"; do
        PYTHON=$(type -P "$name") || continue
        if said=$("$PYTHON" -c "$program" 2>&1 </dev/null); then return; fi
    done
    if [[ $version == 2.7 ]]; then name='python 2.7'; else name=python; fi
    say "caffe is on the PATH, but no $name imports it (${said##*$'\n'}): using the one of Debian 11"
    return 1
}

if type -P caffe >/dev/null && find_python; then
    PYTHONPATH=$(python_path)
    PATH=$PATH:$checkout/tools
    export PYTHON PYTHONPATH PATH
    if [[ $1 == *.py ]]; then set -- "$PYTHON" "$(find_command "$1")" "${@:2}"; fi
    exec -- "$@"
fi

# From here on: Debian 11. What belongs to the host's Pythons and libraries must reach neither its making nor its use.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE LD_LIBRARY_PATH LD_PRELOAD VIRTUAL_ENV "${!CONDA_@}"
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [[ $version == 3 ]]; then
    PYTHON=/usr/bin/python3
    name=debian11 takes='two minutes' megabytes=1500
    packages=(caffe python3-caffe libopenblas0-pthread python3-pytest python3-hypothesis python3-h5py python3-lmdb
        python3-plyvel python3-matplotlib python3-tqdm dataset-fashion-mnist python2.7 python-is-python3 make parallel)
    build=()
else
    PYTHON=/usr/bin/python2.7
    PYTHONPATH=/opt/caffe/python # this and the PATH as in the image
    path=/opt/caffe/build/tools:/opt/caffe/python:$path
    name=debian11-python2.7 takes='five minutes, on a slow machine twenty' megabytes=2500
    packages=(python-is-python2 libpython2.7 libprotobuf23 libboost-filesystem1.74.0 libboost-system1.74.0
        libboost-thread1.74.0 libgflags2.2 libgoogle-glog0v5 libhdf5-103-1 libhdf5-hl-100 liblmdb0 libopenblas0-pthread
        dataset-fashion-mnist make)
    [[ $(uname -m) == x86_64 ]] || die 'the packages of the Caffe for Python 2.7 are for x86_64 only'
    # Given to mmdebstrap as text, so that the whole build is part of the recipe.
    build=()
    for file in caffe_py27.txt caffe_py27.sh; do
        build+=(--customize-hook="cat >\"\$1/root/$file\" <<'END OF FILE'
$(<"${script%/*}/environment/$file")
END OF FILE")
    done
    # shellcheck disable=SC2016
    build+=(--customize-hook='set -e
        if [ -e "${PIP_CERT-}" ]; then cp "$PIP_CERT" "$1/root/ca.crt"; fi
        chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            $(env | grep -iE "^(PIP_INDEX_URL|PIP_TRUSTED_HOST|[a-z]+_proxy)=") bash /root/caffe_py27.sh
        rm -f "$1"/root/caffe_py27.* "$1/root/ca.crt"')
fi
recipe=(--variant=apt --include="$(IFS=,; echo "${packages[*]}")"
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"'
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
    ${build[@]+"${build[@]}"})

case ${XDG_CACHE_HOME-} in
    /*) cache=$XDG_CACHE_HOME/caffe-losses ;;
    *) [[ -n ${HOME-} ]] || die 'neither HOME nor XDG_CACHE_HOME is set: set XDG_CACHE_HOME to a folder for 800 MB'
       cache=$HOME/.cache/caffe-losses ;;
esac
hash=$(printf '%s\n' "$(uname -m)" "${recipe[@]}" | sha256sum)
root=$cache/$name-${hash:0:12}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# install PACKAGE=PROOF...: makes sure that each PROOF (a command, or a file) is there.
install() {
    local pair missing=() get log
    for pair; do
        type -P "${pair#*=}" >/dev/null || [[ -e ${pair#*=} ]] || missing+=("${pair%%=*}")
    done
    ((${#missing[@]})) || return 0
    type -P apt-get >/dev/null ||
        die "this needs ${missing[*]} (by Debian's names), and there is no apt-get: install them with this system's" \
            "own package manager, or put a Caffe on the PATH"
    ((EUID == 0)) || die "this needs ${missing[*]}; as root, run: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    get=(env DEBIAN_FRONTEND=noninteractive
        apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "${missing[@]}")
    log=$("${get[@]}" </dev/null 2>&1) || log=$(apt-get -qq update </dev/null 2>&1 && "${get[@]}" </dev/null 2>&1) ||
        die "could not install ${missing[*]} (${log##*$'\n'}); run: apt-get update && apt-get install ${missing[*]}"
}

check_bwrap() {
    local error remedy
    error=$(bwrap --ro-bind / / true 2>&1 </dev/null) && return
    if [[ $(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null) == 1 ]] && ((EUID)); then
        remedy='as root, run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'
    elif [[ $(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null) == 0 ]] && ((EUID)); then
        remedy='as root, run: sysctl -w kernel.unprivileged_userns_clone=1'
    elif [[ $(cat /proc/sys/user/max_user_namespaces 2>/dev/null) == 0 ]] && ((EUID)); then
        remedy='as root, run: sysctl -w user.max_user_namespaces=10000'
    else
        remedy='in a container, start that with --privileged, or from an image that has Caffe'
    fi
    die "bwrap may not make namespaces here (${error##*$'\n'}); $remedy"
}

check_space() { # FOLDER MEGABYTES VARIABLE: the variable that moves it
    local free
    free=$(df --output=avail -m -- "$1") && free=${free##*[!0-9]}
    ((free >= $2)) || die "not enough space in $1: $2 MB are needed, $free MB are free; $3 sets another folder"
}

check_subordinate_ids() {
    local user file
    user=$(id -un 2>/dev/null) || die "mmdebstrap needs a user with a name, and user $EUID has none:" \
        'make the root file system as another'
    for file in /etc/subuid /etc/subgid; do
        grep -qs "^$user:" $file || die "$file has no ids for $user; as root, run:" \
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
    done
}

# debootstrap [SOURCE]: Debian 11 into $part/root, from a line of sources.list or mmdebstrap's own default.
debootstrap() {
    local unpacker failed=0
    rm -rf "$part"
    mkdir -p "$part/root" "$part/tmp"
    mkfifo "$part/tar"
    # As files of the user who runs this, so that the user can delete them. Only root can make device nodes.
    setpriv --pdeathsig KILL tar -x -C "$part/root" --no-same-owner --no-same-permissions --exclude='./dev/*' \
        <"$part/tar" 2>>"$log" {lock}>&- &
    unpacker=$!
    # In a process group of its own, because mmdebstrap only stops when all of its processes are told to.
    setpriv --pdeathsig "$stop" setsid "${maker[@]}" "${recipe[@]}" bullseye - "$@" \
        </dev/null >"$part/tar" 2>>"$log" {lock}>&- &
    making=$!
    wait $making || failed=1
    making=
    wait $unpacker || failed=1
    return $failed
}

discard() {
    if [[ -n $making ]]; then
        kill -s "$stop" -- "-$making" || true
        wait "$making" || true
    fi 2>/dev/null
    rm -rf "$part"
}

make_root() {
    local distribution=debian lock log=$root.log since=$SECONDS sources=('') source logged made='' old_umask
    part=$root.part making='' stop=TERM
    mkdir -p "$cache" 2>/dev/null || true
    [[ -w $cache ]] || die "cannot write to $cache: set XDG_CACHE_HOME to a folder that you can write to"
    install util-linux=flock
    exec {lock}>>"$root.lock"
    flock -n "$lock" || { say 'another run is making the root file system: waiting for it'; flock "$lock"; }
    if [[ -d $root ]]; then
        exec {lock}>&- # or the command would hold it
        return
    fi

    if ((EUID == 0)); then
        install mmdebstrap=mmdebstrap bubblewrap=bwrap debian-archive-keyring=$keyring
        maker=(mmdebstrap --mode=root)
        # Its mounts and processes must not outlive it, even if it is killed.
        local apart=(unshare --mount --pid --fork --kill-child --mount-proc)
        if "${apart[@]}" true 2>/dev/null; then maker=("${apart[@]}" "${maker[@]}") stop=KILL; fi
        maker=(env TMPDIR="$part/tmp" "${maker[@]}")
    else
        # Its temporary folder stays in /tmp: its other user ids cannot reach into a private home.
        install mmdebstrap=mmdebstrap bubblewrap=bwrap debian-archive-keyring=$keyring uidmap=newuidmap
        maker=(mmdebstrap --mode=unshare)
    fi
    maker+=(--keyring="$keyring")
    check_bwrap
    if ((EUID)); then
        check_subordinate_ids
        check_space "${TMPDIR:-/tmp}" $((megabytes * 2 / 3)) TMPDIR
    fi
    check_space "$cache" "$megabytes" XDG_CACHE_HOME

    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap discard EXIT
    say "making Debian 11 with Caffe in $root (once; about $takes)"
    old_umask=$(umask)
    umask 022
    : >"$log"
    if [[ -n ${CAFFE_LOSSES_MIRROR-} ]]; then
        sources=("deb $CAFFE_LOSSES_MIRROR bullseye main")
    else
        sources+=("deb http://archive.$distribution.org/$distribution bullseye main")
    fi
    for source in "${sources[@]}"; do
        logged=$(stat -c %s "$log")
        if debootstrap ${source:+"$source"}; then made=1; break; fi
        ! grep -q '^I: running --customize-hook' "$log" || die "could not build Caffe; the log: $log"
        say "failed with ${source:-the usual mirror}: $(tail -c +$((logged + 1)) "$log" | grep -m 1 -E '^(E|tar):')"
    done
    [[ -n $made ]] || die "could not make Debian 11: set CAFFE_LOSSES_MIRROR to the URL of a mirror that this machine" \
        "reaches; mmdebstrap's log: $log"
    mv -T "$part/root" "$root"
    rm -f "$log"
    discard
    trap - HUP INT TERM EXIT
    umask "$old_umask"
    exec {lock}>&-
    say "made it in $((SECONDS - since)) s"
}

if [[ ! -d $root ]]; then make_root; fi
install bubblewrap=bwrap util-linux=nsenter

# bwrap cannot make mount points in a read-only folder. So where there are to be some, the folder is a new one, into
# which the entries of Debian's folder are mounted one by one.
mounts=()
opened=()

mount_entries() { # ENTRY...: of Debian's root file system
    local entry
    for entry; do
        if [[ -L $entry ]]; then
            mounts+=(--symlink "$(readlink "$entry")" "${entry#"$root"}")
        else
            mounts+=(--ro-bind "$entry" "${entry#"$root"}")
        fi
    done
}

share() { # FOLDER: of the host, which may be in a part that is Debian's
    local folder=$1 parent=${1%/*}
    [[ -d $folder ]] || return 0
    case $folder in
        /@(etc|usr|var)/*)
            # What Debian has there is needed: the host's must not hide it.
            [[ -z $(ls -A "$root$folder" 2>/dev/null) ]] || return 0
            until [[ -d $root$parent ]]; do parent=${parent%/*}; done
            if [[ ! -d $root$folder && " ${opened[*]-} " != *" $parent "* ]]; then
                mounts+=(--tmpfs "$parent")
                mount_entries "$root$parent"/*
                opened+=("$parent")
            fi ;;
        /@(boot|dev|run)/*) ;;
        *) return 0 ;; # all of it is there, or none of it can be
    esac
    mounts+=(--bind "$folder" "$folder")
}

mount_entries "$root"/@(bin|etc|lib?(32|64|x32)|sbin|usr|var)
for folder in /!(bin|boot|dev|etc|lib?(32|64|x32)|lost+found|proc|run|sbin|sys|usr|var)/; do
    mounts+=(--bind "${folder%/}" "${folder%/}")
done
mounts+=(--dev-bind /dev /dev --proc /proc --tmpfs /run)
if [[ -d $root/opt/caffe ]]; then # in the host's /opt
    mounts+=(--tmpfs /opt)
    for folder in /opt/!(caffe)/; do mounts+=(--bind "${folder%/}" "${folder%/}"); done
    mount_entries "$root/opt/caffe"
    opened+=(/opt)
fi
readarray -d '' folders < <(readlink -zf -- /var/tmp "$checkout" "$PWD" "${HOME:-/}" "${TMPDIR:-/tmp}")
for folder in "${folders[@]}"; do share "$folder"; done
for folder in / ${opened[@]+"${opened[@]}"}; do mounts+=(--remount-ro "$folder"); done

if [[ $1 == *.py ]]; then set -- "$PYTHON" "$(find_command "$1")" "${@:2}"; fi
# The names of the host's users, and a HOME, are what Python and matplotlib fail without.
folder=$(pwd -P)
set -- /usr/bin/env --chdir="$folder" PWD="$folder" PATH="$path:$checkout/tools" HOME="${HOME:-/tmp}" \
    PYTHON="$PYTHON" PYTHONPATH="$(python_path)" PYTHONNOUSERSITE=1 LC_ALL=C.UTF-8 MPLCONFIGDIR=/run/matplotlib \
    MPLBACKEND=Agg CAFFE_LOSSES_WITHIN="$script" "$@"
enter=(bwrap "${mounts[@]}" --ro-bind /etc/passwd /etc/passwd --ro-bind /etc/group /etc/group)

# The command is to be this very process, so that its pid, the signals to it and its status are what they are elsewhere;
# bwrap would stand between. So bwrap makes the namespace of mounts for a keeper, and the command joins it. Process ids
# are the host's: LMDB and others take two processes of one id for one. The keeper ends what the command leaves behind.
# shellcheck disable=SC2016
keeper='
    is_here() { [[ /proc/$1/ns/mnt -ef /proc/self/ns/mnt ]]; }
    runs() { read -r stat <"/proc/$1/stat" && [[ $stat != *") Z "* ]]; } # a zombie of a slow parent does not
    exec 2>/dev/null
    for fd in /proc/self/fd/*; do # a lock, or a pipe that somebody reads to its end
        fd=${fd##*/}
        ((fd < 3)) || exec {fd}>&-
    done
    echo $$
    exec >/dev/null {never}<> <(:)
    while runs "$1"; do read -rt 0.1 -u $never; done
    cd /proc
    while
        found=
        for process in [0-9]*; do
            if ((process != $$)) && is_here "$process"; then kill -KILL "$process"; found=1; fi
        done
        [[ $found ]]
    do read -rt 0.01 -u $never; done'
said=''
read -r said < <(setsid "${enter[@]}" /bin/bash -c "$keeper" keeper $$ </dev/null 2>&1 &) || true
if [[ $said != +([0-9]) ]]; then
    check_bwrap
    die "bwrap could not enter $root ($said): delete it, and it is made anew"
fi
join=(nsenter --target "$said" --mount)
if ((EUID)); then join+=(--user --preserve-credentials); fi
if ! "${join[@]}" /bin/true 2>/dev/null; then # the namespaces of a bwrap that is setuid are root's
    "${enter[@]}" --die-with-parent "$@"
    exit
fi
exec "${join[@]}" "$@"
