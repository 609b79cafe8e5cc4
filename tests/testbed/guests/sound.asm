; SPDX-License-Identifier: Apache-2.0
; Boot sector: the PC speaker plays a square wave of HERTZ for ever while an
; AC97 in PCI slot SLOT records. Needs QEMU's
;
;   -machine pc,pcspk-audiodev=ID -device AC97,audiodev=ID,addr=SLOT
;
; COM1 gets every 16-bit sample that is found at the start of the record
; buffer, is not silence, and is not the one that was told last.
;
;   nasm -f bin -o sound.img sound.asm

%ifndef HERTZ
%define HERTZ 440
%endif
%ifndef SLOT
%define SLOT 5
%endif

PIT_COMMAND equ 0x43
PIT_SPEAKER equ 0x42            ; counter 2
SPEAKER     equ 0x61            ; bit 0: counter 2 runs, bit 1: it is heard
PCI_ADDRESS equ 0xcf8
PCI_DATA    equ 0xcfc
DEVICE      equ 0x80000000 | (SLOT << 11)
COM1        equ 0x3f8

RECORD_GAIN equ 0x1c            ; of the mixer
PI_BDBAR    equ 0x00            ; of the bus master: list of buffers
PI_CIV      equ 0x04            ; the buffer in use
PI_LVI      equ 0x05            ; the last valid one
PI_CR       equ 0x0b            ; bit 0: run

LIST        equ 0x6000          ; 32 entries of 8 bytes
BUFFER      equ 0x9000          ; one for all 32 entries
NUM_SAMPLES equ 512

bits 16
cpu 386
org 0x7c00
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x5000

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

    mov di, LIST
    mov cx, 32
.entry:
    mov eax, BUFFER
    stosd
    mov eax, NUM_SAMPLES
    stosd
    loop .entry

    mov eax, DEVICE | 0x04      ; command register
    call config
    in eax, dx
    or eax, 5                   ; I/O ports, bus master
    out dx, eax
    mov eax, DEVICE | 0x10      ; the mixer's ports
    call config
    in eax, dx
    and ax, 0xfffc
    lea dx, [eax + RECORD_GAIN]
    xor ax, ax                  ; not muted
    out dx, ax
    mov eax, DEVICE | 0x14      ; the bus master's ports
    call config
    in eax, dx
    and ax, 0xfffc
    mov bx, ax

    mov dx, bx                  ; PI_BDBAR
    mov eax, LIST
    out dx, eax
    mov al, 31
    lea dx, [bx + PI_LVI]
    out dx, al
    mov al, 1
    lea dx, [bx + PI_CR]
    out dx, al

    xor si, si                  ; the sample told last
listen:
    lea dx, [bx + PI_CIV]       ; the last valid one stays just behind it
    in al, dx
    dec al
    and al, 31
    inc dx
    out dx, al
    mov cx, [BUFFER]
    jcxz listen
    cmp cx, si
    je listen
    mov si, cx
    mov al, cl
    call say
    mov al, ch
    call say
    jmp listen

; Opens the configuration register EAX; its port is in DX.
config:
    mov dx, PCI_ADDRESS
    out dx, eax
    mov dx, PCI_DATA
    ret

; AL to the serial port.
say:
    push ax
    mov dx, COM1 + 5
.busy:
    in al, dx
    test al, 0x20
    jz .busy
    pop ax
    mov dx, COM1
    out dx, al
    ret

    times 510 - ($ - $$) db 0
    dw 0xaa55
