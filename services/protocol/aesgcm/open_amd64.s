//go:build !purego

#include "textflag.h"
#include "gcm_amd64.h"
#include "text_amd64.h"

// TAIL opens the last bytes, at least one, in as many registers as the names say. GHASH does not wait for AES here.
#define TAIL(LOAD, COUNTER, HASHALL, W, E, FINAL, STORE, more) \
	MASK(LEFT); \
	LOAD; \
	COUNTER; \
	HASHALL; \
	W; \
	ROUNDS1TO9(E); \
	ROUNDSMORE(E, more); \
	FINAL; \
	STORE

#define COPY1 VMOVDQA64 Z8, Z4
#define COPY2 COPY1; VMOVDQA64 Z9, Z5
#define COPY3 COPY2; VMOVDQA64 Z10, Z6
#define COPY4 COPY3; VMOVDQA64 Z11, Z7

#define HASH1 COPY1; THASH1(Z4)
#define HASH2 COPY2; THASH2(Z4, Z5)
#define HASH3 COPY3; THASH3(Z4, Z5, Z6)
#define HASH4 COPY4; THASH4(Z4, Z5, Z6, Z7)

// func open(k *key, nonce *[12]byte, out, in, aad []byte) (fit, authentic bool)
TEXT ·open(SB), NOSPLIT, $0-90
	MOVQ k+0(FP), KEY
	MOVQ nonce+8(FP), R10
	MOVQ out_base+16(FP), OUT
	MOVQ out_len+24(FP), LEFT
	MOVQ in_base+40(FP), IN
	MOVQ in_len+48(FP), AX
	MOVQ aad_base+64(FP), R8
	MOVQ aad_len+72(FP), R9

	TESTQ LEFT, LEFT
	JEQ   fit
	CMPQ  IN, OUT
	JEQ   apart
	UNFIT(OUT, LEFT, IN, AX, unfit)

apart:
	TESTQ R9, R9
	JEQ   fit
	UNFIT(OUT, LEFT, R8, R9, unfit)

fit:
	CONSTANTS
	NONCE(R10)
	ADDITIONAL(R8, R9, long, additional)
	CMPQ LEFT, $256
	JB   tail

	POWERS16

loop:
	VMOVDQU64 (IN), Z8
	VMOVDQU64 64(IN), Z9
	VMOVDQU64 128(IN), Z10
	VMOVDQU64 192(IN), Z11
	COUNTERS4
	VPSHUFB   SWAP, Z8, Z4
	VPSHUFB   SWAP, Z9, Z5
	VPSHUFB   SWAP, Z10, Z6
	VPSHUFB   SWAP, Z11, Z7
	W4
	HASHROUNDS
	ROUNDSMORE(E4, more)
	FOLD
	MASKKEY
	VAESENCLAST Z8, Z0, Z0
	VAESENCLAST Z9, Z1, Z1
	VAESENCLAST Z10, Z2, Z2
	VAESENCLAST Z11, Z3, Z3
	VMOVDQU64   Z0, (OUT)
	VMOVDQU64   Z1, 64(OUT)
	VMOVDQU64   Z2, 128(OUT)
	VMOVDQU64   Z3, 192(OUT)
	ADDQ        $256, IN
	ADDQ        $256, OUT
	SUBQ        $256, LEFT
	CMPQ        LEFT, $256
	JAE         loop

tail:
	MOVQ out_len+24(FP), AX
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

	TAIL(TLOAD4, TCOUNTERS4, HASH4, TW4, TE4, TLAST4, TSTORE4, more4)
	JMP tag

tail3:
	TAIL(TLOAD3, TCOUNTERS3, HASH3, TW3, TE3, TLAST3, TSTORE3, more3)
	JMP tag

tail2:
	TAIL(TLOAD2, TCOUNTERS2, HASH2, TW2, TE2, TLAST2, TSTORE2, more2)
	JMP tag

tail1:
	TAIL(TLOAD1, TCOUNTERS1, HASH1, TW1, TE1, TLAST1, TSTORE1, more1)
	JMP tag

empty:
	EMPTY(more0)

tag:
	TAG
	MOVQ   in_base+40(FP), IN
	MOVQ   out_len+24(FP), LEFT
	VPXORQ (IN)(LEFT*1), XHASH, X0
	VPTEST X0, X0
	SETEQ  authentic+89(FP)
	VZEROUPPER
	MOVB   $1, fit+88(FP)
	RET

unfit:
	MOVB $0, fit+88(FP)
	MOVB $0, authentic+89(FP)
	RET
