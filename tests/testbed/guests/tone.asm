; SPDX-License-Identifier: Apache-2.0
; Boot sector: the PC speaker plays a square wave of HERTZ for ever. Needs
; QEMU's -machine pc,pcspk-audiodev=ID to be heard on the playback channel.
;
;   nasm -f bin -o tone.img tone.asm

%ifndef HERTZ
%define HERTZ 440
%endif

PIT_COMMAND equ 0x43
PIT_SPEAKER equ 0x42            ; counter 2
SPEAKER     equ 0x61            ; bit 0: counter 2 runs, bit 1: it is heard

bits 16
org 0x7c00
    mov al, 10_11_011_0b        ; counter 2, low then high byte, square wave
    out PIT_COMMAND, al
    mov bx, 1193182 / HERTZ
    mov al, bl
    out PIT_SPEAKER, al
    mov al, bh
    out PIT_SPEAKER, al
    in al, SPEAKER
    or al, 3
    out SPEAKER, al
rest:
    hlt
    jmp rest

    times 510 - ($ - $$) db 0
    dw 0xaa55
