#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the instructions that a program's main thread executes in `main`.

    count_instructions.py PROGRAM ARGUMENTS...

For machines whose processor's counters cannot be read. The program runs under
Frida (`pip install frida`), which adds one to a number before each instruction
and executes the instruction itself. So the program takes the same kernels as
without it, in a few times their time. Prints the number alone.
"""

import os
import sys
import threading

import frida

# Before each instruction: rax is saved, the counter is read, increased and
# written, and rax restored. `lea` leaves the flags as they are.
COUNT = r"""
const memory = Memory.alloc(Process.pageSize);
const counter = memory, saved = memory.add(8), code = memory.add(64);
const put = (at, bytes, address) => {
  bytes.forEach((byte, i) => code.add(at + i).writeU8(byte));
  if (address) {
    code.add(at + bytes.length).writePointer(address);
  }
};
put(0, [0x48, 0xa3], saved);           // movabs [saved], rax
put(10, [0x48, 0xa1], counter);        // movabs rax, [counter]
put(20, [0x48, 0x8d, 0x40, 0x01]);     // lea rax, [rax + 1]
put(24, [0x48, 0xa3], counter);        // movabs [counter], rax
put(34, [0x48, 0xa1], saved);          // movabs rax, [saved]
const module = new CModule(`
#include <gum/gumstalker.h>
extern const unsigned char code[44];
void transform(GumStalkerIterator *each, GumStalkerOutput *output, void *data) {
  const cs_insn *instruction;
  while (gum_stalker_iterator_next(each, &instruction)) {
    gum_x86_writer_put_bytes(output->writer.x86, code, 44);
    gum_stalker_iterator_keep(each);
  }
}`, { code });
const symbols = Process.mainModule.enumerateSymbols();
Interceptor.attach(symbols.find(symbol => symbol.name === 'main').address, {
  onEnter() {
    Stalker.follow(Process.getCurrentThreadId(),
                   { transform: module.transform });
  },
  onLeave(status) {
    Stalker.unfollow();
    send([counter.readU64().toString(), status.toInt32()]);
    recv('read', () => {}).wait();  // else the process ends before the number
  },
});
"""


def main(command):
    if os.uname().machine != "x86_64":
        sys.exit("count_instructions: counts on x86-64 alone")
    found, ended = [], threading.Event()

    def on_message(message, _data):
        if message["type"] == "send":
            found.append(message["payload"])
            script.post({"type": "read"})
        else:
            print(message.get("description", message), file=sys.stderr)
        ended.set()

    device = frida.get_local_device()
    pid = device.spawn(command, stdio="pipe")
    session = device.attach(pid)
    session.on("detached", lambda *_: ended.set())
    script = session.create_script(COUNT)
    script.on("message", on_message)
    script.load()
    device.resume(pid)
    ended.wait()
    if not found:
        sys.exit("count_instructions: the program ended before its number")
    count, status = found[0]
    if status != 0:
        sys.exit(f"count_instructions: the program returned {status}")
    print(count)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
