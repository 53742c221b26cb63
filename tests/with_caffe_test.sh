#!/bin/bash
# shellcheck disable=SC2016,SC2317
# Tests of tools/with_caffe.sh, with the real cache, which they fill if it is empty. Without pytest: the host may have
# no Python.
set -u
shopt -s nullglob
cd "$(dirname "$0")/.." || exit
checkout=$(pwd -P)
with_caffe=$checkout/tools/with_caffe.sh
# shellcheck source=tests/checks.sh
. tests/checks.sh
tmp=$(mktemp -d)
chmod 755 "$tmp"
trap 'rm -rf "$tmp"' EXIT

run() { # COMMAND...: its standard output, standard error and status
    out=$("$@" 2>"$tmp/err")
    status=$?
    err=$(<"$tmp/err")
}

wait_until() { # COMMAND...: at most a minute, as a busy machine is slow
    local i
    for ((i = 0; i < 1200; i++)); do
        if "$@" 2>/dev/null; then return; fi
        sleep 0.05
    done
    return 1
}

in_group() { # COMMAND...: in the background, as the leader of a process group, for which a Ctrl-C can be played
    rm -f "$tmp/group.out" # what the one before wrote
    setsid env --default-signal=INT "$@" >"$tmp/group.out" 2>"$tmp/group.err" &
    group=$!
}

is_gone() { ! kill -0 "$1"; }

group_is_gone() { ! kill -0 -- "-$group"; }

fake() { # DIRECTORY NAME: a command whose text is on standard input
    mkdir -p "$tmp/$1"
    rm -f "$tmp/$1/$2" # or it is written through a link to the real one
    { echo '#!/bin/bash'; echo 'shopt -s extglob nullglob'; cat; } >"$tmp/$1/$2"
    chmod 755 "$tmp/$1/$2"
}

# The choice: a Caffe on the PATH.

fake host caffe <<<'exit 0'
fake host python <<<'echo "no module named caffe" >&2; exit 1'
fake host python3 <<<'[[ $1 == -c ]] || echo "python3 got: $*"'
PATH=$tmp/host:$PATH PYTHONPATH=:/a::/b: run "$with_caffe" bash -c 'echo "$PYTHON $PYTHONPATH"'
roots=$checkout/layers:$checkout/prototxt:$checkout/tools
check 'a Caffe on the PATH is taken' "$tmp/host/python3 /a:/b:$roots" "$out"
check 'and nothing is said' '' "$err"
PATH=$tmp/host:$PATH run "$with_caffe" a.py 'x  y'
check 'and its Python runs a .py' 'python3 got: a.py x  y' "$out"
PATH=$tmp/host:$PATH run "$with_caffe" make_h.py x
check 'and the commands are found by name' "python3 got: $checkout/tools/make_h.py x" "$out"
PATH=$tmp/host:$PATH run "$with_caffe" bash -c 'exit 41'
check 'and the status is the command'\''s' 41 "$status"

# With the argument 2.7 only this: the real root file system for Python 2.7, or a Caffe for it on the PATH.

if [[ ${1-} == 2.7 ]]; then
    "$with_caffe" --python 2.7 true || exit
    run "$with_caffe" --python 2.7 bash -c '"$PYTHON" -c "import caffe; print(caffe.__version__)"; caffe --version'
    check '2.7: import caffe, and caffe' $'1.0.0\ncaffe version 1.0.0' "$out"
    echo 'import sys; print(sys.version[:3])' >"$tmp/version.py"
    run "$with_caffe" --python 2.7 "$tmp/version.py"
    check '2.7: a .py is run by PYTHON' 2.7 "$out"
    run "$with_caffe" --python 2.7 "$with_caffe" --python 2.7 "$tmp/version.py"
    check '2.7: inside itself it takes the Caffe on the PATH' '2.7 ' "$out $err"
    in_group "$with_caffe" --python 2.7 bash -c 'trap "exit 43" HUP; echo ready; while :; do sleep 0.05; done'
    wait_until grep -q ready "$tmp/group.out"
    kill -HUP "$group"
    wait "$group"
    check '2.7: signals are for the command' 43 $?
    if folder=$(mktemp -d /opt/with_caffe_test.XXXXXX 2>/dev/null); then
        run "$with_caffe" --python 2.7 bash -c 'cd "$1" && echo text >made' bash "$folder"
        check "2.7: the host's /opt is there too" text "$(<"$folder/made")"
        rm -r "$folder"
    fi
    finish
fi

# The usage.

run "$with_caffe"
check 'no arguments: status' 2 "$status"
check 'no arguments: nothing on stdout' '' "$out"
check_like 'no arguments: usage' 'usage: *' "$err"
run "$with_caffe" --help
check_like '--help' '0 usage: *caffe train*' "$status $out"
run "$with_caffe" --python 3.8 true
check '--python of another version' '2 with_caffe: --python takes only 2.7, not 3.8' "$status $err"
run "$with_caffe" --python 2.7
check_like '--python without a command' '2 usage: *' "$status $err"

# --python 2.7: only a python that says it is takes the Caffe on the PATH. (A fake says so where it is asked.)

fake host2 caffe <<<'exit 0'
fake host2 python <<<'[[ $2 != *"(2, 7)"* ]] && exit; echo "3.9" >&2; exit 1'
fake host2 python2.7 <<<'[[ $1 == -c ]] || echo "python2.7 got: $*"'
PATH=$tmp/host2:$PATH run "$with_caffe" --python 2.7 a.py x
check '--python 2.7 with a Caffe on the PATH' 'python2.7 got: a.py x' "$out"

if type -P caffe >/dev/null; then
    echo 'Caffe is on the PATH here: tests of the Debian 11 root file system are skipped'
    finish
fi

# The real root file system.

"$with_caffe" true || exit
run "$with_caffe" bash -c 'echo one; echo two >&2; exit 42'
check 'stdout is only the command'\''s' one "$out"
check 'stderr too, once the root is there' two "$err"
check 'status of the command' 42 "$status"
run "$with_caffe" nosuchcommand
check 'no such command: status' 127 "$status"
run "$with_caffe" printf '<%s>' 'a  b' '' "c'd" 'e"f' '*' "\$HOME" '\n' -- -x
check 'arguments survive' "<a  b><><c'd><e\"f><*><\$HOME><\\n><--><-x>" "$out"
run "$with_caffe" cat <<<'through stdin'
check 'stdin passes' 'through stdin' "$out"
mkdir "$tmp/a b"
echo 'import sys; print(sys.argv[1:], sys.executable)' >"$tmp/a b/c d.py"
run "$with_caffe" "$tmp/a b/c d.py" 'x y'
check 'a .py is run by PYTHON' "['x y'] /usr/bin/python3" "$out"
PYTHONPATH=/leaked PYTHONHOME=/leaked LD_LIBRARY_PATH=/leaked VIRTUAL_ENV=/leaked run "$with_caffe" \
    bash -c 'echo "$PYTHONPATH,${PYTHONHOME-},${LD_LIBRARY_PATH-},${VIRTUAL_ENV-}"'
check 'of the host'\''s Python nothing leaks in' "$roots,,," "$out"
run "$with_caffe" bash -c '"$PYTHON" -c "import caffe; print(caffe.__version__)"; caffe --version'
check 'import caffe, and caffe' $'1.0.0\ncaffe version 1.0.0' "$out"
run "$with_caffe" "$with_caffe" bash -c 'echo "$PYTHONPATH"; touch /usr/x'
check 'inside itself it takes the Caffe on the PATH' "$roots" "$out"
check_like 'the system is read-only' '*Read-only file system' "$err"
run env -u HOME XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}" "$with_caffe" python3 -c 'import matplotlib.pyplot'
check 'matplotlib needs no HOME' 0 "$status"

for folder in "$tmp/here" /var/tmp /var/lib /usr/local/src; do
    [[ -w $folder || ! -e $folder ]] || continue
    if [[ $folder != "$tmp"* ]]; then folder=$(mktemp -d "$folder/with_caffe_test.XXXXXX") || continue; fi
    mkdir -p "$folder/deep"
    cd "$folder/deep" || exit
    run "$with_caffe" bash -c 'pwd; echo text >made'
    check "$folder: the working directory is kept" "$folder/deep" "$out"
    check "$folder: files are written" text "$(<made)"
    check "$folder: and are the caller's" "$EUID" "$(stat -c %u made)"
    cd "$checkout" || exit
    rm -rf "$folder"
done

cp -r "$checkout/tools" "$tmp/tools"
mkdir "$tmp/nobody"
if ((EUID == 0)); then
    # The cache may be in root's own home: mounted elsewhere, anyone can read it.
    mkdir "$tmp/cache"
    chown 65534:65534 "$tmp/nobody"
    as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent XDG_CACHE_HOME="$tmp/cache")
    run unshare --mount bash -c 'mount --bind "$1" "$2" && cd "$3" && shift 3 && exec "$@"' bash \
        "${XDG_CACHE_HOME:-$HOME/.cache}" "$tmp/cache" "$tmp/nobody" \
        "${as_nobody[@]}" "$tmp/tools/with_caffe.sh" \
        python3 -c 'import caffe, os; open("made", "w"); print(os.getuid())'
    check 'a user without root, with a cache made before' '0 65534' "$status $out"
    check 'files are of that user' 65534 "$(stat -c %u "$tmp/nobody/made")"
else
    as_nobody=(env)
fi

in_group "$with_caffe" bash -c 'trap "echo asked; sleep 0.1; exit 43" INT; echo ready; while :; do sleep 0.05; done'
wait_until grep -q ready "$tmp/group.out"
kill -INT -- "-$group"
wait "$group"
check 'Ctrl-C is for the command, once' '43 ready asked' "$? $(tr '\n' ' ' <"$tmp/group.out" | sed 's/ $//')"
for signal in INT TERM HUP USR1; do
    in_group "$with_caffe" bash -c 'trap "((asked += 1))" "$1"
        echo ready
        until ((asked == 2)); do sleep 0.05; done
        exit 43' bash "$signal"
    wait_until grep -q ready "$tmp/group.out"
    kill -s "$signal" "$group"
    sleep 0.2
    kill -s "$signal" "$group"
    wait "$group"
    check "SIG$signal to its own process is for the command" 43 $?
done
for signal in TERM KILL; do
    in_group "$with_caffe" bash -c 'echo ready; setsid sleep 1000 & echo $! >"$1"; sleep 1000; :' bash "$tmp/apart"
    wait_until grep -q ready "$tmp/group.out"
    kill -s $signal "$group"
    wait "$group" 2>/dev/null
    status=$?
    check "SIG$signal: the status is that of the signal" $((128 + $(kill -l $signal))) $status
    check "SIG$signal: it leaves no orphan" 0 "$(wait_until group_is_gone; echo $?)"
    check "SIG$signal: nor one in a session of its own" 0 "$(wait_until is_gone "$(<"$tmp/apart")"; echo $?)"
done
for i in {1..8}; do # sooner or later than its keeper looks
    run "$with_caffe" sh -c 'setsid sleep 1000 >/dev/null 2>&1 & echo $!'
    check "nothing outlives a command that ends at once ($i)" 0 "$(wait_until is_gone "$out"; echo $?)"
done
# LMDB takes two readers with the same process id for one.
hold='import lmdb, sys; lmdb.open(sys.argv[1]).begin().stat(); print("open"); sys.stdout.flush(); sys.stdin.read()'
mkfifo "$tmp/end"
"$with_caffe" python3 -c "$hold" "$tmp/lmdb" <"$tmp/end" >"$tmp/first" &
exec {end}>"$tmp/end"
wait_until grep -q open "$tmp/first"
run "$with_caffe" python3 -c "$hold" "$tmp/lmdb" </dev/null
check 'two read one LMDB at once' '0 open' "$status $out$err"
exec {end}>&-
wait $!

mkdir "$tmp/a:b" "$tmp/path"
cp -r "$checkout/tools" "$tmp/a:b/"
run "$tmp/a:b/tools/with_caffe.sh" true
check_like 'a checkout with a colon' '2 with_caffe: expected a checkout without a colon *: move or *' "$status $err"
cd "$tmp/path" || exit
run "$with_caffe" make_h.py --version
check_like 'a command of the project is found by name' '0 make_h.py *' "$status $out"
run "$with_caffe" sh -c 'make_h.py --version'
check_like 'by a shell too' '0 make_h.py *' "$status $out"
echo 'print("mine")' >make_h.py
run "$with_caffe" make_h.py
check 'a script in the current folder comes first' mine "$out"
cd "$checkout" || exit
fake setuid nsenter <<<'exit 1'
PATH=$tmp/setuid:$PATH run "$with_caffe" sh -c 'pwd; exit 45'
check 'where its namespaces are not ours, bwrap runs the command' "45 $checkout" "$status $out"

# Making a root file system, by a cheap mmdebstrap: the few files of the real one that shells need.

trees=("${XDG_CACHE_HOME:-$HOME/.cache}"/caffe-losses/debian11-*/usr/bin/caffe)
real=${trees[0]%/usr/bin/caffe}
cheap="echo made >>'$tmp/made'
printf '%s\n' \"\$@\" >'$tmp/arguments'
cd '$real' && tar -c ./etc/@(passwd|group) ./usr/bin/env ./bin/@(true|bash|dash|sh) ./lib*/ld[-.]* \
    ./lib/*/@(libc|ld|libdl|libtinfo)[-.]*"
fake cheap mmdebstrap <<<"$cheap"
fake unhurried mmdebstrap <<<"$cheap; sleep 1"
fake slow mmdebstrap <<<"($cheap) | head -c 100000; touch '$tmp/started'; sleep 1000; :"
fake failing mmdebstrap <<<"echo 'E: no such mirror' >&2; exit 1"
fake full df <<<'printf "Avail\n  100\n"'

fresh=0
fresh_cache() {
    fresh=$((fresh + 1))
    rm -f "$tmp/made" "$tmp/started"
    export XDG_CACHE_HOME=$tmp/fresh$fresh
    cache=$XDG_CACHE_HOME/caffe-losses
}

with_fake() { # DIRECTORY ARGUMENT...: with_caffe, where a fake command comes first
    env PATH="$tmp/$1:$PATH" "$with_caffe" "${@:2}"
}

in_cache() { (cd "$cache" && echo * | sed -E 's/debian11-(python2.7-)?[0-9a-f]{12}/ROOT/g'); }

times_made() { if [[ -e $tmp/made ]]; then wc -l <"$tmp/made"; else echo 0; fi; }

fresh_cache
run with_fake cheap sh -c 'echo in; exit 44'
check 'a first run: status, stdout' '44 in' "$status $out"
check 'leaves the root and its lock' 'ROOT ROOT.lock' "$(in_cache)"
check_like 'its mmdebstrap chooses the mirror' '*bullseye?-' "$(<"$tmp/arguments")"
check 'what it says is marked' '' "$(grep -v '^with_caffe: ' "$tmp/err")"
run with_fake cheap true
check 'a second run makes none and says nothing' '1 ' "$(times_made) $err"
sed 's/ packages=(/&some-package /' "$with_caffe" >"$tmp/tools/other.sh"
run env PATH="$tmp/cheap:$PATH" bash "$tmp/tools/other.sh" true
check 'another package list makes another root' '0 ROOT ROOT.lock ROOT ROOT.lock' "$status $(in_cache)"

fresh_cache
# Python 2.7's: in the cheap one `caffe` never is, but its build is what mmdebstrap gets.
run with_fake cheap --python 2.7 sh -c 'echo "$PYTHON $PATH $PYTHONPATH"'
check_like '--python 2.7: the layout of bvlc/caffe' \
    "/usr/bin/python2.7 /opt/caffe/build/tools:*:/bin:$checkout/tools /opt/caffe/python:$roots" "$out"
last_line() { sed -n '$p' "$checkout/tools/environment/$1"; }
check_like '--python 2.7: its build is part of the recipe' \
    "*$(last_line caffe_py27.txt)*$(last_line caffe_py27.sh)*" "$(<"$tmp/arguments")"
echo '# changed' >>"$tmp/tools/environment/caffe_py27.txt"
run env PATH="$tmp/cheap:$PATH" "$tmp/tools/with_caffe.sh" --python 2.7 true
check 'a changed build makes another root' '0 2' "$status $(times_made)"
fake failing_build mmdebstrap <<<"echo 'I: running --customize-hook in shell: x' >&2; exit 1"
fresh_cache
run with_fake failing_build --python 2.7 true
check_like 'a build that fails: no other mirror is tried' '2 with_caffe: making *with_caffe: could not do what comes after the packages; *' \
    "$status $err"

fresh_cache
run env CAFFE_LOSSES_MIRROR=http://mirror.test/debian PATH="$tmp/cheap:$PATH" "$with_caffe" true
check_like 'CAFFE_LOSSES_MIRROR' '*deb http://mirror.test/debian bullseye main' "$(<"$tmp/arguments")"

fresh_cache
with_fake unhurried sh -c 'echo first' >"$tmp/first" 2>"$tmp/first.err" &
wait_until test -e "$tmp/made"
run with_fake unhurried sh -c 'echo second'
wait $!
check 'two first runs at once: both run' '0 first second' "$? $(<"$tmp/first") $out"
check 'and one root is made' 1 "$(times_made)"
check_like 'and the second says that it waits' '*waiting*' "$err"

for kill in 'INT -- -' 'TERM ' 'KILL -- -' 'KILL '; do
    fresh_cache
    in_group env PATH="$tmp/slow:$PATH" "$with_caffe" true
    wait_until test -e "$tmp/started"
    check "kill -$kill: was making it" 'ROOT.lock ROOT.log ROOT.part' "$(in_cache)"
    # shellcheck disable=SC2086
    kill -s $kill"$group"
    wait "$group" 2>/dev/null
    check "kill -$kill: no process is left" 0 "$(wait_until group_is_gone; echo $?)"
    if [[ $kill != KILL* ]]; then check "kill -$kill: it cleans up" 'ROOT.lock ROOT.log' "$(in_cache)"; fi
    run with_fake cheap sh -c 'echo ran'
    check "kill -$kill: the next run makes it" '2 0 ran' "$(times_made) $status $out"
    check "kill -$kill: and removes what was left" 'ROOT ROOT.lock' "$(in_cache)"
done

# What it cannot do is said in one line.

fresh_cache
run with_fake failing true
check 'no mirror: status' 2 "$status"
check_like 'no mirror: the remedy' '*set CAFFE_LOSSES_MIRROR*log: *' "$(tail -n 1 <<<"$err")"
check_like 'no mirror: the log' 'E: no such mirror*' "$(<"${err##*log: }")"
fresh_cache
run with_fake full true
check_like 'no space' "2 with_caffe: not enough space in *: * are needed, 100 MB are free; *" "$status $err"
run env -u HOME -u XDG_CACHE_HOME "$with_caffe" true
check_like 'no HOME' '2 with_caffe: *set XDG_CACHE_HOME*' "$status $err"
run env XDG_CACHE_HOME=/proc/nowhere "$with_caffe" true
check_like 'a cache that cannot be written' '2 with_caffe: cannot write to *set XDG_CACHE_HOME*' "$status $err"

mkdir "$tmp/no_bwrap"
for folder in /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do ln -sf "$folder"/* "$tmp/no_bwrap/"; done
rm -f "$tmp/no_bwrap/bwrap"
run "${as_nobody[@]}" XDG_CACHE_HOME="$tmp/nobody" PATH="$tmp/no_bwrap" "$tmp/tools/with_caffe.sh" true
check_like 'no tools and not root' '2 with_caffe: *as root, run: apt-get install *bubblewrap*' "$status $err"
rm "$tmp/no_bwrap/apt-get"
fresh_cache
run env PATH="$tmp/no_bwrap" "$with_caffe" true
check_like 'no tools and no apt-get' '2 with_caffe: this needs bubblewrap *' "$status $err"
if ((EUID == 0)); then
    fake no_bwrap apt-get <<<"[[ \$* != *' install bubblewrap' ]] || ln -s '$(type -P bwrap)' '$tmp/no_bwrap/bwrap'"
    fake no_bwrap mmdebstrap <<<"$cheap"
    run env PATH="$tmp/no_bwrap" "$with_caffe" sh -c 'echo ran'
    check 'root installs the tools' '0 ran' "$status $out"
    check_like 'and says so' '*with_caffe: installing bubblewrap*' "$err"
fi

finish
