# Read by tests/c/run: programs that know an installed prefix and nothing else, and where it can be installed.

# $1: where it was installed; the rest, what pkg-config is told. It escapes spaces, so that a shell has to read its words.
outside() {
    local pc words
    pc=$(dirname "$(find "$1" -name hive_registry.pc)")
    words=$(PKG_CONFIG_PATH=$pc pkg-config "${@:2}" --cflags --libs hive_registry)
    eval "cc -std=c11 $warnings ${linked:-} tests/c/outside/main.c $words -o '$out/bin/outside'" &&
        LD_LIBRARY_PATH=$(dirname "$pc") "$out/bin/outside"
}

# $1: cmake; the rest, where it finds the library, and which version it wants.
by_cmake() {
    rm -rf "$out/outside"
    "$1" -S tests/c/outside -B "$out/outside" "${@:2}" && "$1" --build "$out/outside" &&
        "$out/outside/outside_hive_registry" && "$out/outside/outside_static"
}

# Versions that hold the one installed, and versions that do not.
by_cmake_of() {
    local wanted
    for wanted in 0.1 0.1.0 0.0.1...1 "0.1...<0.3" 0.1.0...0.1.0; do
        by_cmake "$1" "-DCMAKE_PREFIX_PATH=$prefix" "-DWANTED=$wanted" || return
    done
    for wanted in 0.1.1 0.2 0.0.1 "0.0.1...<0.1" 0.0.1...0.0.9 "0.1.1...<0.3"; do
        by_cmake "$1" "-DCMAKE_PREFIX_PATH=$prefix" "-DWANTED=$wanted" >"$out/refused.log" 2>&1 &&
            { echo "took 0.1.0 for $wanted"; return 1; }
        grep -q 'hive_registry-config.cmake, version: 0.1.0' "$out/refused.log" || { cat "$out/refused.log"; return 1; }
    done
}

# From where make runs, with a space; and moved as a whole.
relative() {
    rm -rf "$out/a prefix" "$out/a moved prefix"
    make install-c PREFIX="target/c/a prefix" && outside "$out/a prefix" && mv "$out/a prefix" "$out/a moved prefix" &&
        outside "$out/a moved prefix"
}

# What packagers tell: a stage, and directories of their own.
staged() {
    rm -rf "$out/a stage"
    make install-c PREFIX=/usr DESTDIR="target/c/a stage" && outside "$out/a stage/usr" &&
        diff <(cd "$prefix" && find . | sort) <(cd "$out/a stage/usr" && find . | sort)
}

elsewhere() {
    rm -rf "$out/elsewhere"
    make install-c PREFIX="$out/elsewhere" LIBDIR=lib/x86_64-linux-gnu INCLUDEDIR="$out/elsewhere/headers & more/c" &&
        outside "$out/elsewhere" && [[ -e $out/elsewhere/lib/x86_64-linux-gnu/libhive_registry.so ]] &&
        [[ -e "$out/elsewhere/headers & more/c/hive_registry/hive_registry.h" ]]
}

# Nothing of ours is left, and what others put beside it is.
removed() {
    local left
    touch "$out/elsewhere/lib/x86_64-linux-gnu/libother.so"
    make uninstall-c PREFIX="$out/elsewhere" LIBDIR=lib/x86_64-linux-gnu INCLUDEDIR="$out/elsewhere/headers & more/c" || return
    left=$(cd "$out/elsewhere" && find . ! -type d -o -name '*hive*')
    [[ $left == ./lib/x86_64-linux-gnu/libother.so ]] || { echo "left: $left"; return 1; }
}

# The first commands of bindings/c/README.md, as they stand there, by a user who has nothing else.
quick_start() (
    at=$out/quick
    rm -rf "$at" && mkdir -p "$at" && ln -s "$PWD/Makefile" "$PWD/bindings" "$at"
    block bindings/c/README.md c >"$at/first.c"
    block bindings/c/README.md sh >"$at/first.sh"
    cd "$at" && env -i HOME="$at/home" PATH="$PATH" CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" \
        ${CARGO_TARGET_DIR:+CARGO_TARGET_DIR="$CARGO_TARGET_DIR"} PROFILE="$PROFILE" bash -eu first.sh | tee said &&
        grep -q 'send it to http://10.0.0.1:930[01]' said
)

# A host that was not linked with the library.
plugin() {
    cc -std=c11 $warnings -g "-I$prefix/include/hive_registry" tests/c/outside/plugin.c -o "$out/bin/plugin" -ldl -lpthread &&
        "$out/bin/plugin" "$prefix/lib/libhive_registry.so"
}

# A plugin that has the library within, linked as bindings/c/README.md advises: what it exports is its own.
within() {
    local words
    words=$(PKG_CONFIG_PATH=$out/static/lib/pkgconfig pkg-config --static --cflags --libs hive_registry)
    cc -std=c11 $warnings -shared -fPIC tests/c/outside/main.c $words -Wl,--exclude-libs,libhive_registry.a -Wl,-z,nodelete \
        -o "$out/bin/within.so" && [[ $(nm -D --defined-only "$out/bin/within.so" | awk '{ print $3 }') == main ]]
}

# What tools for other languages read of the header is what the library has, the inline functions among it.
plain() {
    local header=$prefix/include/hive_registry/hive_registry.h inline
    nm -D --defined-only "$prefix/lib/libhive_registry.so" | awk '$3 ~ /^hive_/ { print $3 }' | sort >"$out/exported"
    cpp -P -DHIVE_NO_INLINE -DHIVE_NO_INCLUDES "$header" >"$out/plain.h"
    functions <"$out/plain.h" | diff - "$out/exported" || return
    ! grep -nwE 'inline|static|return' "$out/plain.h" || return
    inline=$(grep 'static inline' "$header" | functions)
    [[ -n $inline ]] && comm -23 <(echo "$inline") "$out/exported" | diff - /dev/null
}

functions() {
    grep -oE '\bhive_\w+\(' | tr -d '(' | sort -u
}

if has cc "programs outside"; then
    run "outside, dlopen" plugin
    has nm "the library has what the header declares" && run "the library has what the header declares" plain
fi
if has pkg-config "outside programs through pkg-config"; then
    run "outside, pkg-config" outside "$prefix"
    linked=-DHIVE_NO_INLINE run "outside, no function inline" outside "$prefix"
    # No shared library to be found.
    rm -rf "$out/static" && cp -r "$prefix" "$out/static" && rm "$out"/static/lib/*.so*
    run "outside, pkg-config --static" outside "$out/static" --static
    if echo 'int main(void) { return 0; }' | cc -static -x c - -o "$out/bin/empty" 2>/dev/null; then
        linked=-static run "outside, static as a whole" outside "$out/static" --static
    else
        skipped+=("a program that is static as a whole: no static libc")
    fi
    run "outside, within a plugin" within
    run "outside, a relative prefix with a space" relative
    run "outside, a stage" staged
    run "outside, LIBDIR and INCLUDEDIR" elsewhere
    run "uninstall-c" removed
    run "bindings/c/README.md, its commands" quick_start
fi
cmake=.venv/bin/cmake
[[ -x $cmake ]] || { python3 -m venv .venv && .venv/bin/pip install --quiet 'cmake==4.1.*'; } || true
if [[ -x $cmake ]]; then
    run "outside, CMake" by_cmake_of "$PWD/$cmake"
else
    skipped+=("outside program through CMake: it could not be installed into .venv")
fi
