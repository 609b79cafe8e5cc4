; SPDX-License-Identifier: Apache-2.0
; Boot sector: passes bytes on between serial ports, COM1 <-> COM2 and
; COM3 <-> COM4. With a SPICE character device on one port of a pair and a
; unix socket on the other, a test plays the part of the guest's agent.
;
;   nasm -f bin -o relay.img relay.asm

RBR equ 0                       ; receive, and transmit on writing
IER equ 1
FCR equ 2
LCR equ 3
MCR equ 4
LSR equ 5

READY equ 0x7e00                ; read by qemu.Vm.wait_painted
BURST equ 16                    ; the FIFO's depth: one turn moves no more

bits 16
org 0x7c00
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00

    mov si, routes              ; every port is the source of one route
    mov cx, 4
prepare:
    lodsw
    mov bx, ax
    lodsw
    mov ax, (LCR << 8) | 0x83   ; divisor latch open, 8 bits
    call put
    mov ax, (RBR << 8) | 1      ; divisor 1: 115200 baud
    call put
    mov ax, (IER << 8) | 0
    call put
    mov ax, (LCR << 8) | 0x03   ; latch closed
    call put
    mov ax, (IER << 8) | 0      ; we poll
    call put
    mov ax, (FCR << 8) | 7      ; FIFOs on and empty
    call put
    mov ax, (MCR << 8) | 3      ; DTR and RTS: the peer may send
    call put
    loop prepare
    mov word [READY], 'OK'      ; what came before this is lost

turn:
    mov si, routes
    mov cx, 4
.route:
    lodsw
    mov bx, ax                  ; from
    lodsw
    mov di, ax                  ; to
    call move
    loop .route
    jmp turn

; Register AH of the port at BX gets AL.
put:
    movzx dx, ah
    add dx, bx
    out dx, al
    ret

; Moves up to BURST bytes from the port at BX to the one at DI.
move:
    mov bp, BURST
.next:
    lea dx, [bx + LSR]
    in al, dx
    test al, 0x01               ; something there?
    jz .done
    lea dx, [di + LSR]
    in al, dx
    test al, 0x20               ; room?
    jz .done
    mov dx, bx
    in al, dx
    mov dx, di
    out dx, al
    dec bp
    jnz .next
.done:
    ret

routes:
    dw 0x3f8, 0x2f8
    dw 0x2f8, 0x3f8
    dw 0x3e8, 0x2e8
    dw 0x2e8, 0x3e8

    times 510 - ($ - $$) db 0
    dw 0xaa55
