# Read by tests/c/run: a scheduler in each of several languages, from the installed prefix.

by_cgo() (
    cd tests/c/runtimes/go && GOCACHE=$out/go PKG_CONFIG_PATH=$prefix/lib/pkgconfig \
        CGO_LDFLAGS=-Wl,-rpath,$prefix/lib go test -count=1 ./...
)

# As the lock file has it; anew where that has changed.
koffi() {
    local at=$out/koffi lock=tests/c/runtimes/koffi/package-lock.json
    cmp -s $lock "$at/installed" && return
    rm -rf "$at" && mkdir "$at" && cp tests/c/runtimes/koffi/package.json $lock "$at" &&
        npm ci --prefix "$at" --no-audit --no-fund && cp $lock "$at/installed"
}

cffi() {
    [[ -x .venv/bin/python ]] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/c/runtimes/cffi/requirements.txt
}

# $1: what installs it, $2: what needs it.
installed() {
    "$1" >"$out/log" 2>&1 && return
    cat "$out/log"
    skipped+=("$2: $1 could not be installed")
    return 1
}

if has go "Go by cgo" && has pkg-config "Go by cgo"; then run "Go by cgo" by_cgo; fi
if has node "JavaScript by koffi" && has npm "JavaScript by koffi" && installed koffi "JavaScript by koffi"; then
    run "JavaScript by koffi" env NODE_PATH="$out/koffi/node_modules" node tests/c/runtimes/koffi/scheduler.js \
        "$prefix/lib/libhive_registry.so"
fi
if has python3 "Python by cffi" && has cpp "Python by cffi" && installed cffi "Python by cffi"; then
    run "Python by cffi" .venv/bin/python -W error tests/c/runtimes/cffi/scheduler.py \
        "$prefix/include/hive_registry/hive_registry.h" "$prefix/lib/libhive_registry.so"
fi
