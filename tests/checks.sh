# shellcheck shell=bash
# What the shell tests share: checks that count, and the line that says how many.
passed=0
failed=0

check() { # NAME EXPECTED ACTUAL
    if [[ $2 == "$3" ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n  expected: %q\n  came:     %q\n' "$1" "$2" "$3"
    fi
}

check_like() { # NAME PATTERN ACTUAL
    # shellcheck disable=SC2053
    if [[ $3 == $2 ]]; then check "$1" '' ''; else check "$1" "$2" "$3"; fi
}

finish() {
    echo "$passed passed, $failed failed"
    exit $((failed > 0))
}
