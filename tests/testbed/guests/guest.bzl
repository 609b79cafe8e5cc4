# SPDX-License-Identifier: Apache-2.0
"""guest(): assembles a boot sector with nasm."""

def guest(name, src, defines = {}):
    """Builds NAME.img, 512 bytes, from one assembler file.

    Args:
      name: name of the target and of the image.
      src: the .asm file.
      defines: nasm -D definitions.
    """
    flags = " ".join(["-D%s=\"%s\"" % (k, v) for k, v in defines.items()])
    native.genrule(
        name = name,
        srcs = [src],
        outs = [name + ".img"],
        cmd = "command -v nasm >/dev/null || " +
              "{ echo 'nasm is not installed: run tools/setup' >&2; " +
              "exit 1; }; " +
              "nasm -f bin %s -o $@ $<" % flags,
    )
