; SPDX-License-Identifier: Apache-2.0
; Boot sector: a 1024x768 screen with a picture the tests can predict.
;
;   nasm -f bin -DSHOW="'G'" -DTINT=0x000000 -o screen.img screen.asm
;
; SHOW  what is painted from the start
;       'G'  a picture in which every pixel has a colour of its own, once
;       'B'  a 64x64 block that moves once per timer tick, for ever
;       'N'  ROWS rows of noise per timer tick, for ever (a flood)
;       'I'  nothing
; TINT  colour of the first pixel of 'G'; two tints are two pictures
;
; COM1 gets one '!' when the first picture is complete, then every byte that
; the PS/2 keyboard sends, raw (set 1 scan codes). A pressed key also changes
; the screen: g, b, n and i as above, any other key paints a 256x256 square in
; the upper left corner whose colour follows from the scan code.
;
; The machine stays in real mode. ES alone has a 4 GiB limit, fetched once
; from protected mode, because the frame buffer lies near the end of 32 bits.

%ifndef SHOW
%define SHOW 'G'
%endif
%ifndef TINT
%define TINT 0
%endif
%ifndef ROWS
%define ROWS 192
%endif

WIDTH      equ 1024
HEIGHT     equ 768
STRIDE     equ WIDTH * 4
VBE_MODE   equ 0x144            ; SeaVGABIOS: 1024x768, 32 bits per pixel
MODE_INFO  equ 0x6000           ; 256 bytes, filled by the BIOS
LFB        equ MODE_INFO + 0x28 ; physical address of the frame buffer
COLOUR_STEP equ 0x010203        ; odd, so 2^24 steps before one repeats
TICK_HZ    equ 60
COM1       equ 0x3f8

KEY_G      equ 0x22
KEY_B      equ 0x30
KEY_N      equ 0x31
KEY_I      equ 0x17

bits 16
cpu 486
org 0x7c00

boot:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x5000

    mov ax, 0x4f01              ; where is the linear frame buffer?
    mov cx, VBE_MODE
    mov di, MODE_INFO
    int 0x10
    mov ax, 0x4f02              ; bit 14: use it
    mov bx, VBE_MODE | 0x4000
    int 0x10
    cli

    in al, 0x92                 ; A20 on
    or al, 2
    out 0x92, al
    lgdt [table_ptr]
    mov eax, cr0
    inc ax                      ; bit 0 is clear here: protected mode
    mov cr0, eax
    mov bx, 8
    mov es, bx
    dec ax
    mov cr0, eax

    mov word [8 * 4], tick      ; IRQ 0 is vector 8, as the BIOS left it
    mov word [8 * 4 + 2], 0
    mov al, 0x34
    out 0x43, al
    mov ax, 1193182 / TICK_HZ
    out 0x40, al
    mov al, ah
    out 0x40, al
    mov al, 0xfe                ; only the timer may interrupt
    out 0x21, al
    mov al, 0xff
    out 0xa1, al

    xor ebp, ebp                ; ticks so far
    mov esi, 0x9e3779b9         ; noise state
    call paint
    mov al, '!'
    call say

forever:
    sti
    hlt
    inc ebp
    call keys
    call paint
    jmp forever

; Reads what the keyboard has, passes it on and remembers the last key pressed.
keys:
    in al, 0x64
    test al, 1
    jz .none
    in al, 0x60
    call say
    test al, al
    js keys                     ; a key went up
    mov [show], al
    jmp keys
.none:
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

; One frame of whatever is shown.
paint:
    mov edi, [LFB]
    mov al, [show]
    cmp al, KEY_I
    je .done
    cmp al, KEY_N
    je noise
    cmp al, KEY_B
    je block
    mov byte [show], KEY_I      ; the others are painted once
    cmp al, KEY_G
    je picture
    movzx eax, al               ; a square in the colour of the key
    imul eax, eax, 0x02a5c1
    and eax, 0xffffff
    mov dx, 256
    mov ebx, 256
    jmp box
.done:
    ret

picture:
    mov eax, TINT
    mov ecx, WIDTH * HEIGHT
.pixel:
    a32 stosd
    add eax, COLOUR_STEP
    and eax, 0xffffff
    dec ecx
    jnz .pixel
    ret

noise:
    mov eax, ebp                ; the next ROWS rows, wrapping
    xor edx, edx
    mov ecx, HEIGHT / ROWS
    div ecx
    imul edx, edx, ROWS * STRIDE
    add edi, edx
    mov ecx, ROWS * WIDTH
.pixel:
    imul esi, esi, 0x2c9277b5
    inc esi
    mov eax, esi
    shr eax, 15
    xor eax, esi
    a32 stosd
    dec ecx
    jnz .pixel
    ret

block:
    mov eax, ebp                ; eight pixels to the right per tick
    and eax, 63
    shl eax, 5
    lea edi, [edi + eax + 352 * STRIDE]
    imul eax, ebp, 0x030507
    mov dx, 64
    mov ebx, 64

; DX rows of EBX pixels of colour EAX at ES:EDI.
box:
    mov ecx, ebx
    push edi
    a32 rep stosd
    pop edi
    add edi, STRIDE
    dec dx
    jnz box
    ret

tick:
    push ax
    mov al, 0x20
    out 0x20, al
    pop ax
    iret

show:
%if SHOW == 'G'
    db KEY_G
%elif SHOW == 'B'
    db KEY_B
%elif SHOW == 'N'
    db KEY_N
%else
    db KEY_I
%endif

align 8
table:
    dq 0
    dq 0x00cf92000000ffff       ; data, base 0, 4 GiB
table_ptr:
    dw table_ptr - table - 1
    dd table

    times 510 - ($ - $$) db 0
    dw 0xaa55
