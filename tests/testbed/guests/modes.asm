; SPDX-License-Identifier: Apache-2.0
; Boot sector: four screen sizes, the next one with every key that is pressed.
; COM1 gets the size's number, '0' to '3', once it is shown.
;
;   nasm -f bin -o modes.img modes.asm

COM1 equ 0x3f8

bits 16
org 0x7c00
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x5000
    sti
    xor si, si
size:
    mov bx, si
    add bx, bx
    mov bx, [bx + sizes]        ; SeaVGABIOS: 32 bits per pixel
    mov ax, 0x4f02
    int 0x10
    mov ax, si
    add al, '0'
    mov dx, COM1
    out dx, al
    xor ah, ah                  ; the next key
    int 0x16
    inc si
    and si, 3
    jmp size

sizes:
    dw 0x142, 0x143, 0x144, 0x145   ; 640x480 800x600 1024x768 1280x1024

    times 510 - ($ - $$) db 0
    dw 0xaa55
