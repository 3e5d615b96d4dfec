//go:build !purego

#include "textflag.h"
#include "gcm_amd64.h"

// func subWord(w uint32) uint32
TEXT ·subWord(SB), NOSPLIT, $0-12
	// AESKEYGENASSIST substitutes dword 1 of its source into dword 0, with no table in memory.
	MOVL            w+0(FP), AX
	VPXOR           X0, X0, X0
	VPINSRD         $1, AX, X0, X0
	VAESKEYGENASSIST $0, X0, X0
	VMOVD           X0, AX
	MOVL            AX, ret+8(FP)
	RET

// func dot(a, b element) element
TEXT ·dot(SB), NOSPLIT, $0-48
	VBROADCASTI32X4 poly<>(SB), POLY
	VMOVDQU64       a+0(FP), X0
	VMOVDQU64       b+16(FP), X1
	MUL(X0, X1, X25, X26, X27, X22)
	REDUCE1(X25, X26, X27, X19, X22)
	REDUCE2(X25, X26, X27, X19, X22)
	VMOVDQU64       X25, ret+32(FP)
	VZEROUPPER
	RET
