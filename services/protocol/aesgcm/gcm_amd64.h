// The registers and the arithmetic that all of the assembly shares. Of four blocks in a ZMM register, lane 0 has the first.
//
// Sources: FIPS 197 for AES, NIST SP 800-38D for GCM, RFC 8452 appendix A for GHASH as POLYVAL of byte-reversed
// blocks. Summing products by descending powers of H before one reduction: Gueron and Kounavis, "Intel Carry-Less
// Multiplication Instruction and its Usage for Computing the GCM Mode", 2010.

// Offsets in type key.
#define KEY_H16    64
#define KEY_H1     304
#define KEY_ROUNDS 320
#define KEY_N      560

// Registers that hold the same in all of a function.
#define KEY   DI  // type key
#define IN    SI
#define OUT   DX
#define LEFT  CX  // bytes of IN not yet taken
#define ROUND R11 // the first round key
#define LAST  R12 // the last round key
#define N     R13 // rounds: 10, 12 or 14
#define CTR   Z16 // the next four counter blocks, byte-reversed: the 32-bit counter is dword 0
#define FOUR  Z17 // what goes from four counter blocks to the next
#define SWAP  Z18 // the shuffle that byte-reverses each block
#define POLY  Z19 // x^63 + x^62 + x^57 in each quadword
#define J0    Z20 // the block that masks the tag, SP 800-38D section 7.1 step 2; X20
#define HASH  Z21 // GHASH so far, byte-reversed, in lane 0; the other lanes are 0
#define XHASH X21
#define TMP   Z22
#define TMP2  Z23
#define RK    Z24
#define HI    Z25 // sums of products not yet reduced: bits 255 to 128 of each lane's
#define MID   Z26 // bits 191 to 64
#define LO    Z27 // bits 127 to 0
#define P0    Z28 // H^16 to H^13
#define P1    Z29
#define P2    Z30
#define P3    Z31 // H^4 to H^1

// UNFIT jumps to bad if b, of bn bytes, overlaps a, of an bytes. It takes BX.
#define UNFIT(a, an, b, bn, bad) \
	MOVQ b, BX; \
	SUBQ a, BX; \
	CMPQ BX, an; \
	JB bad; \
	NEGQ BX; \
	CMPQ BX, bn; \
	JB bad

// CONSTANTS sets what does not depend on arguments, once KEY is set.
#define CONSTANTS \
	LEAQ KEY_ROUNDS(KEY), ROUND; \
	MOVQ KEY_N(KEY), N; \
	MOVQ N, LAST; \
	SHLQ $4, LAST; \
	ADDQ ROUND, LAST; \
	VBROADCASTI32X4 swap<>(SB), SWAP; \
	VBROADCASTI32X4 poly<>(SB), POLY; \
	VBROADCASTI32X4 four<>(SB), FOUR

// NONCE makes J0 and CTR from 12 bytes. They are loaded as ESP stores them, salt and IV, so that the IV's store
// forwards to the load.
#define NONCE(from) \
	VMOVQ 4(from), X0; \
	VPSLLDQ $4, X0, X0; \
	VPINSRD $0, (from), X0, X0; \
	MOVL $0x01000000, AX; \
	VPINSRD $3, AX, X0, X0; \
	VMOVDQA64 X0, X20; \
	VSHUFI64X2 $0, Z0, Z0, CTR; \
	VPSHUFB SWAP, CTR, CTR; \
	VPADDD first<>(SB), CTR, CTR

// COUNTERS sets a register to the next four counter blocks.
#define COUNTERS(z) \
	VPSHUFB SWAP, CTR, z; \
	VPADDD FOUR, CTR, CTR

// MUL sets HI, MID and LO to the products of the lanes of g and p.
#define MUL(g, p, hi, mid, lo, tmp) \
	VPCLMULQDQ $0x00, p, g, lo; \
	VPCLMULQDQ $0x11, p, g, hi; \
	VPCLMULQDQ $0x01, p, g, mid; \
	VPCLMULQDQ $0x10, p, g, tmp; \
	VPXORQ tmp, mid, mid

// MULADD_MID and MULADD_ENDS add the products of the lanes of g and p to MID, HI and LO.
#define MULADD_MID(g, p) \
	VPCLMULQDQ $0x01, p, g, TMP; \
	VPCLMULQDQ $0x10, p, g, TMP2; \
	VPTERNLOGD $0x96, TMP, TMP2, MID

#define MULADD_ENDS(g, p) \
	VPCLMULQDQ $0x00, p, g, TMP; \
	VPCLMULQDQ $0x11, p, g, TMP2; \
	VPXORQ TMP, LO, LO; \
	VPXORQ TMP2, HI, HI

#define MULADD(g, p) \
	MULADD_MID(g, p); \
	MULADD_ENDS(g, p)

// REDUCE1 and REDUCE2 leave in hi the product of each lane times x^-128 modulo x^128 + x^127 + x^126 + x^121 + 1, RFC
// 8452 section 3. A quadword at the low end goes away when that multiple of the modulus is added that has the same
// quadword there: it comes back 128 bits higher, and times x^63 + x^62 + x^57, 64 bits higher. This happens twice.
// After the first time, what is left of lo lies where mid does.
#define REDUCE1(hi, mid, lo, poly, tmp) \
	VPCLMULQDQ $0x00, poly, lo, tmp; \
	VPSHUFD $0x4E, lo, lo; \
	VPTERNLOGD $0x96, tmp, lo, mid

#define REDUCE2(hi, mid, lo, poly, tmp) \
	VPCLMULQDQ $0x00, poly, mid, tmp; \
	VPSHUFD $0x4E, mid, mid; \
	VPTERNLOGD $0x96, tmp, mid, hi

// FOLD sets HASH to the sum of HI's lanes.
#define FOLD \
	VEXTRACTI64X4 $1, HI, Y22; \
	VPXORQ Y22, Y25, Y25; \
	VEXTRACTI32X4 $1, Y25, X22; \
	VPXORQ X22, X25, XHASH

#define REDUCE \
	REDUCE1(HI, MID, LO, POLY, TMP); \
	REDUCE2(HI, MID, LO, POLY, TMP); \
	FOLD

// REDUCE_LANE0 is REDUCE where the other lanes are 0.
#define REDUCE_LANE0 \
	REDUCE1(X25, X26, X27, X19, X22); \
	REDUCE2(X25, X26, X27, X19, X22); \
	VMOVDQA64 X25, XHASH

// MASK sets K1 to the lowest n bytes, n from 1 to 64. Masked loads and stores do not touch the rest of their memory.
#define MASK(n) \
	MOVQ $-1, AX; \
	BZHIQ n, AX, AX; \
	KMOVQ AX, K1

// ADDITIONAL hashes n bytes of additional data into HASH, SP 800-38D section 7.1 step 5: one block, which is what ESP
// has (RFC 4106 section 5), or four at a time. It takes from and n.
#define ADDITIONAL(from, n, long, done) \
	VPXORQ XHASH, XHASH, XHASH; \
	TESTQ n, n; \
	JEQ done; \
	CMPQ n, $16; \
	JA long; \
	MASK(n); \
	VMOVDQU8.Z (from), K1, X0; \
	VPSHUFB X18, X0, X0; \
	VMOVDQU64 KEY_H1(KEY), X1; \
	MUL(X0, X1, X25, X26, X27, X22); \
	REDUCE_LANE0; \
	JMP done; \
long: \
	MOVQ $64, BX; \
	CMPQ n, BX; \
	CMOVQLT n, BX; \
	MASK(BX); \
	VMOVDQU8.Z (from), K1, Z0; \
	VPSHUFB SWAP, Z0, Z0; \
	VPXORQ HASH, Z0, Z0; \
	LEAQ 15(BX), AX; \
	ANDQ $-16, AX; \
	NEGQ AX; \
	VMOVDQU64 (KEY_H1+16)(KEY)(AX*1), Z1; \
	MUL(Z0, Z1, HI, MID, LO, TMP); \
	REDUCE; \
	ADDQ BX, from; \
	SUBQ BX, n; \
	JNE long; \
done:

// LENGTHS sets HI, MID and LO to the product of the last block of GHASH and H. It takes the lengths in bytes.
#define LENGTHS(text, additional) \
	SHLQ $3, text; \
	SHLQ $3, additional; \
	VMOVQ text, X22; \
	VPINSRQ $1, additional, X22, X22; \
	VMOVDQU64 KEY_H1(KEY), X24; \
	MUL(X22, X24, X25, X26, X27, X23)

// POWERS sets p to the power of H that the first of n bytes' last blocks takes, with the block of lengths behind them.
#define POWERS(n, p) \
	LEAQ 15(n), p; \
	ANDQ $-16, p; \
	NEGQ p; \
	LEAQ KEY_H1(KEY)(p*1), p

// CONSTANTS' memory.
DATA swap<>+0(SB)/8, $0x08090A0B0C0D0E0F
DATA swap<>+8(SB)/8, $0x0001020304050607
GLOBL swap<>(SB), RODATA|NOPTR, $16

DATA poly<>+0(SB)/8, $0xC200000000000000
DATA poly<>+8(SB)/8, $0xC200000000000000
GLOBL poly<>(SB), RODATA|NOPTR, $16

DATA four<>+0(SB)/8, $4
DATA four<>+8(SB)/8, $0
GLOBL four<>(SB), RODATA|NOPTR, $16

DATA first<>+0(SB)/8, $1
DATA first<>+8(SB)/8, $0
DATA first<>+16(SB)/8, $2
DATA first<>+24(SB)/8, $0
DATA first<>+32(SB)/8, $3
DATA first<>+40(SB)/8, $0
DATA first<>+48(SB)/8, $4
DATA first<>+56(SB)/8, $0
GLOBL first<>(SB), RODATA|NOPTR, $64
