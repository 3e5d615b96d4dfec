//go:build !purego

#include "textflag.h"
#include "gcm_amd64.h"
#include "text_amd64.h"

// LAST4 ends AES of Z0 to Z3, writes the ciphertext, and leaves it in Z4 to Z7 for GHASH.
#define LAST4 \
	VAESENCLAST Z8, Z0, Z0; \
	VAESENCLAST Z9, Z1, Z1; \
	VAESENCLAST Z10, Z2, Z2; \
	VAESENCLAST Z11, Z3, Z3; \
	VMOVDQU64 Z0, (OUT); \
	VMOVDQU64 Z1, 64(OUT); \
	VMOVDQU64 Z2, 128(OUT); \
	VMOVDQU64 Z3, 192(OUT); \
	VPSHUFB SWAP, Z0, Z4; \
	VPSHUFB SWAP, Z1, Z5; \
	VPSHUFB SWAP, Z2, Z6; \
	VPSHUFB SWAP, Z3, Z7; \
	ADDQ $256, IN; \
	ADDQ $256, OUT; \
	SUBQ $256, LEFT

#define LOAD4 \
	VMOVDQU64 (IN), Z8; \
	VMOVDQU64 64(IN), Z9; \
	VMOVDQU64 128(IN), Z10; \
	VMOVDQU64 192(IN), Z11

// TAIL seals the last bytes, at least one, in as many registers as the names say.
#define TAIL(LOAD, COUNTER, W, E, FINAL, STORE, last, more) \
	MASK(LEFT); \
	LOAD; \
	COUNTER; \
	W; \
	ROUNDS1TO9(E); \
	ROUNDSMORE(E, more); \
	FINAL; \
	STORE; \
	VMOVDQU8.Z last, K1, last

// func seal(k *key, nonce *[12]byte, out, in, aad []byte) (fit bool)
TEXT ·seal(SB), NOSPLIT, $0-89
	MOVQ k+0(FP), KEY
	MOVQ nonce+8(FP), R10
	MOVQ out_base+16(FP), OUT
	MOVQ out_len+24(FP), AX
	MOVQ in_base+40(FP), IN
	MOVQ in_len+48(FP), LEFT
	MOVQ aad_base+64(FP), R8
	MOVQ aad_len+72(FP), R9

	CMPQ IN, OUT
	JEQ  apart
	TESTQ LEFT, LEFT
	JEQ apart
	UNFIT(OUT, AX, IN, LEFT, unfit)

apart:
	TESTQ R9, R9
	JEQ   fit
	UNFIT(OUT, AX, R8, R9, unfit)

fit:
	CONSTANTS
	NONCE(R10)
	ADDITIONAL(R8, R9, long, additional)
	CMPQ LEFT, $256
	JB   tail

	POWERS16
	LOAD4
	COUNTERS4
	W4
	ROUNDS1TO9(E4)
	ROUNDSMORE(E4, more)
	MASKKEY
	LAST4

loop:
	CMPQ LEFT, $256
	JB   pending
	LOAD4
	COUNTERS4
	W4
	HASHROUNDS
	ROUNDSMORE(E4, moreloop)
	FOLD
	MASKKEY
	LAST4
	JMP loop

pending:
	VPXORQ HASH, Z4, Z4
	MUL(Z5, P1, HI, MID, LO, TMP)
	MULADD(Z6, P2)
	MULADD(Z7, P3)
	MULADD(Z4, P0)
	REDUCE

tail:
	MOVQ in_len+48(FP), AX
	MOVQ aad_len+72(FP), BX
	LENGTHS(AX, BX)
	POWERS(LEFT, R8)
	TESTQ LEFT, LEFT
	JEQ   empty
	CMPQ  LEFT, $64
	JBE   tail1
	SUBQ  $64, LEFT
	CMPQ  LEFT, $64
	JBE   tail2
	SUBQ  $64, LEFT
	CMPQ  LEFT, $64
	JBE   tail3
	SUBQ  $64, LEFT

	TAIL(TLOAD4, TCOUNTERS4, TW4, TE4, TLAST4, TSTORE4, Z3, more4)
	THASH4(Z0, Z1, Z2, Z3)
	JMP tag

tail3:
	TAIL(TLOAD3, TCOUNTERS3, TW3, TE3, TLAST3, TSTORE3, Z2, more3)
	THASH3(Z0, Z1, Z2)
	JMP tag

tail2:
	TAIL(TLOAD2, TCOUNTERS2, TW2, TE2, TLAST2, TSTORE2, Z1, more2)
	THASH2(Z0, Z1)
	JMP tag

tail1:
	TAIL(TLOAD1, TCOUNTERS1, TW1, TE1, TLAST1, TSTORE1, Z0, more1)
	THASH1(Z0)
	JMP tag

empty:
	EMPTY(more0)

tag:
	TAG
	MOVQ       out_base+16(FP), OUT
	MOVQ       in_len+48(FP), LEFT
	VMOVDQU64  XHASH, (OUT)(LEFT*1)
	VZEROUPPER
	MOVB       $1, fit+88(FP)
	RET

unfit:
	MOVB $0, fit+88(FP)
	RET
