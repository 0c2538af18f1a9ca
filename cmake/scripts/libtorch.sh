# SPDX-License-Identifier: BSD-3-Clause
# Chooses the LibTorch to build with, and gets one where there is none. ./dev
# reads this file, after messages.sh and packages.sh; $root is the checkout.
# shellcheck shell=sh

wheel_version=2.13.0+cpu
wheel_index=https://download.pytorch.org/whl/cpu  # PyTorch's own
wheel_home=${root:?}/build/wheel
pip_log=$root/build/log/pip.log

# Provides the LibTorch that $1 names: wheel, system, a folder, or auto for the
# first that is there. A relative folder starts at the folder $2. Says which one
# it is, sets torch_used to its folder, and exports the variable by which CMake
# finds it.
provide_torch() {
  case $1 in
    wheel) use_wheel || fail "no wheel; try --torch system" ;;
    system)
      use_system || fail "no LibTorch on this system: install libtorch-dev"
      ;;
    auto) use_yours || use_first ;;
    *)
      found=$(cd "$2" && is_torch "$1" && cd "$1" && pwd) ||
        fail "$1 holds no share/cmake/Torch/TorchConfig.cmake"
      use_prefix "$found" "the one that --torch names"
      ;;
  esac
}

# Uses the first LibTorch that is there or can be had.
use_first() {
  if found=$(python_torch); then
    use_prefix "$found" "the installed Python torch"
  elif system_torch >/dev/null; then
    use_system
  else
    use_wheel || use_system ||
      fail "no LibTorch: install libtorch-dev or the Python package torch (CPU), or
name the folder of one with --torch DIR"
  fi
}

# ------------------------------------------------------------- where one may be

# Whether the folder $1 is the root of a LibTorch, or of a Python package torch.
is_torch() { [ -f "$1/share/cmake/Torch/TorchConfig.cmake" ]; }

# The folder of the torch package of the Python $1, or of the first Python that
# is found. Fails where there is no such package, or it cannot be used.
python_torch() {
  folder=$(cmake ${1:+"-DCYBORG_PYTHON=$1"} \
    -P "$root/cmake/scripts/PythonTorch.cmake") &&
    [ -n "$folder" ] && echo "$folder"
}

# The folder of the system's TorchConfig.cmake.
system_torch() {
  for config in /usr/lib/*/cmake/Torch /usr/lib/cmake/Torch \
    /usr/share/cmake/Torch /usr/local/share/cmake/Torch; do
    if [ -f "$config/TorchConfig.cmake" ]; then
      echo "$config"
      return
    fi
  done
  return 1
}

# The root of the private wheel, if its installation was completed.
private_torch() {
  [ -f "$wheel_home/complete" ] || return 1
  folder=$(cat "$wheel_home/complete")
  is_torch "$folder" && [ -f "$folder/lib/libtorch_cpu.so" ] && echo "$folder"
}

# -------------------------------------------------------------- how one is used

# Leaves the choice to the user's environment. Fails where that names none.
use_yours() {
  if [ -n "${Torch_DIR:-}${Torch_ROOT:-}" ]; then
    torch_used=${Torch_DIR:-$Torch_ROOT}
    say "LibTorch: yours, by Torch_DIR or Torch_ROOT ($torch_used)"
    return
  fi
  old_ifs=$IFS
  IFS=:
  for prefix in ${CMAKE_PREFIX_PATH:-}; do
    if is_torch "$prefix"; then
      IFS=$old_ifs
      say "LibTorch: yours, by CMAKE_PREFIX_PATH ($prefix)"
      torch_used=$prefix
      return
    fi
  done
  IFS=$old_ifs
  return 1
}

# Uses the LibTorch with the root $1, which the user is told is $2.
use_prefix() {
  say "LibTorch: $2 ($1)"
  CMAKE_PREFIX_PATH=$1${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  export CMAKE_PREFIX_PATH
  unset Torch_DIR Torch_ROOT  # CMake would look there first
  torch_used=$1
}

# Uses the system's LibTorch. Where there is none, apt installs it.
use_system() {
  system_torch >/dev/null || apt_install libtorch-dev || return 1
  Torch_DIR=$(system_torch) || return 1
  say "LibTorch: the system's ($Torch_DIR)"
  export Torch_DIR
  unset Torch_ROOT  # CMake would look there first
  # shellcheck disable=SC2034  # ./dev reads it
  torch_used=$Torch_DIR
}

# Uses the private wheel. Where there is none, pip installs it.
use_wheel() {
  private_torch >/dev/null || install_wheel || return 1
  use_prefix "$(private_torch)" "the private wheel $wheel_version"
}

# -------------------------------------------------------------------- the wheel

# Installs the wheel into a private environment, with the first Python that can.
install_wheel() {
  mkdir -p "$root/build/log"
  : >"$pip_log"
  say "getting LibTorch: the wheel torch $wheel_version, into build/wheel"
  tried=  # the versions of those Pythons that have venv
  for attempt in 1 2; do
    for name in python3 /usr/bin/python3 python3.13 python3.12 python3.11 \
      python3.10; do
      python=$(command -v "$name" 2>/dev/null) || continue
      version=$("$python" -c \
        'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        continue
      case " $tried " in *" $version "*) continue ;; esac
      if install_wheel_with "$python"; then
        return
      fi
      rm -rf "$wheel_home"
      # A Python without venv is asked again when apt has installed venv.
      "$python" -c 'import venv, ensurepip' 2>/dev/null &&
        tried="$tried $version"
    done
    if [ -n "$tried" ] || [ "$attempt" = 2 ]; then
      break
    fi
    apt_install python3-venv ca-certificates || break
  done
  say "there is no such wheel for this machine: see build/log/pip.log"
  return 1
}

# Makes the private environment with the Python $1.
install_wheel_with() {
  "$1" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null || return 1
  rm -rf "$wheel_home"
  "$1" -m venv "$wheel_home" >>"$pip_log" 2>&1 || return 1
  for index in '' "--index-url=$wheel_index"; do
    # One retry and a short wait: without a network this must not take minutes.
    # shellcheck disable=SC2086
    if "$wheel_home/bin/python" -m pip install --no-deps --no-input \
      --only-binary=:all: --disable-pip-version-check --retries=1 \
      --timeout=15 --progress-bar=off $index \
      "torch==$wheel_version" >>"$pip_log" 2>&1; then
      # With PYTHONPATH, it could find another torch.
      folder=$(unset PYTHONPATH && python_torch "$wheel_home/bin/python") ||
        return 1
      # What `import torch` and the package of examples/python need. Without these
      # only the test of that package is left out.
      # shellcheck disable=SC2086
      "$wheel_home/bin/python" -m pip install --no-input --only-binary=:all: \
        --disable-pip-version-check --retries=1 --timeout=15 \
        --progress-bar=off filelock fsspec jinja2 networkx ninja setuptools \
        sympy typing-extensions >>"$pip_log" 2>&1 ||
        say "the test of the Python package will be skipped: pip could not" \
          "install what it needs (build/log/pip.log)"
      echo "$folder" >"$wheel_home/complete"
      return
    fi
  done
  return 1
}
