// What seal_amd64.s and open_amd64.s do with text: 256 bytes at a time, and then the tail of fewer than that, with J0 and
// the block of lengths.

// W1 to W4 begin AES of one to four registers, E1 to E4 are a round of it. The T forms take J0 along.
#define W1 \
	VBROADCASTI32X4 (ROUND), RK; \
	VPXORQ RK, Z0, Z0
#define W2 W1; VPXORQ RK, Z1, Z1
#define W3 W2; VPXORQ RK, Z2, Z2
#define W4 W3; VPXORQ RK, Z3, Z3

#define E1(at) \
	VBROADCASTI32X4 at, RK; \
	VAESENC RK, Z0, Z0
#define E2(at) E1(at); VAESENC RK, Z1, Z1
#define E3(at) E2(at); VAESENC RK, Z2, Z2
#define E4(at) E3(at); VAESENC RK, Z3, Z3

#define TW0 VPXORQ (ROUND), X20, X20
#define TW1 W1; VPXORQ X24, X20, X20
#define TW2 W2; VPXORQ X24, X20, X20
#define TW3 W3; VPXORQ X24, X20, X20
#define TW4 W4; VPXORQ X24, X20, X20

#define TE0(at) VAESENC at, X20, X20
#define TE1(at) E1(at); VAESENC X24, X20, X20
#define TE2(at) E2(at); VAESENC X24, X20, X20
#define TE3(at) E3(at); VAESENC X24, X20, X20
#define TE4(at) E4(at); VAESENC X24, X20, X20

// ROUNDS1TO9 and ROUNDSMORE are all rounds but the last.
#define ROUNDS1TO9(E) \
	E(16(ROUND)); \
	E(32(ROUND)); \
	E(48(ROUND)); \
	E(64(ROUND)); \
	E(80(ROUND)); \
	E(96(ROUND)); \
	E(112(ROUND)); \
	E(128(ROUND)); \
	E(144(ROUND))

#define ROUNDSMORE(E, done) \
	CMPQ N, $12; \
	JLT done; \
	E(160(ROUND)); \
	E(176(ROUND)); \
	JEQ done; \
	E(192(ROUND)); \
	E(208(ROUND)); \
done:

// HASHROUNDS is ROUNDS1TO9 of four registers, mixed with the GHASH of the 16 blocks in Z4 to Z7, so that neither waits for
// the other's latency. HASH comes in last.
#define HASHROUNDS \
	E4(16(ROUND)); \
	MUL(Z5, P1, HI, MID, LO, TMP); \
	E4(32(ROUND)); \
	MULADD_MID(Z6, P2); \
	E4(48(ROUND)); \
	MULADD_ENDS(Z6, P2); \
	E4(64(ROUND)); \
	MULADD_MID(Z7, P3); \
	VPXORQ HASH, Z4, Z4; \
	E4(80(ROUND)); \
	MULADD_ENDS(Z7, P3); \
	E4(96(ROUND)); \
	MULADD_MID(Z4, P0); \
	E4(112(ROUND)); \
	MULADD_ENDS(Z4, P0); \
	E4(128(ROUND)); \
	REDUCE1(HI, MID, LO, POLY, TMP); \
	E4(144(ROUND)); \
	REDUCE2(HI, MID, LO, POLY, TMP)

// COUNTERS4 sets Z0 to Z3 to the next 16 counter blocks.
#define COUNTERS4 \
	COUNTERS(Z0); \
	COUNTERS(Z1); \
	COUNTERS(Z2); \
	COUNTERS(Z3)

// MASKKEY adds the last round key to the text in Z8 to Z11, so that LAST4 is the last round and the text's sum at once.
#define MASKKEY \
	VBROADCASTI32X4 (LAST), RK; \
	VPXORQ RK, Z8, Z8; \
	VPXORQ RK, Z9, Z9; \
	VPXORQ RK, Z10, Z10; \
	VPXORQ RK, Z11, Z11

// POWERS16 loads H^16 to H^1.
#define POWERS16 \
	VMOVDQU64 (KEY_H16+0)(KEY), P0; \
	VMOVDQU64 (KEY_H16+64)(KEY), P1; \
	VMOVDQU64 (KEY_H16+128)(KEY), P2; \
	VMOVDQU64 (KEY_H16+192)(KEY), P3

// The tail's steps for one to four registers of text, the last of them cut to K1's bytes. R8 is what POWERS gave.
#define TCOUNTERS1 COUNTERS(Z0)
#define TCOUNTERS2 TCOUNTERS1; COUNTERS(Z1)
#define TCOUNTERS3 TCOUNTERS2; COUNTERS(Z2)
#define TCOUNTERS4 TCOUNTERS3; COUNTERS(Z3)

#define TLOAD1 VMOVDQU8.Z (IN), K1, Z8
#define TLOAD2 VMOVDQU64 (IN), Z8; VMOVDQU8.Z 64(IN), K1, Z9
#define TLOAD3 VMOVDQU64 (IN), Z8; VMOVDQU64 64(IN), Z9; VMOVDQU8.Z 128(IN), K1, Z10
#define TLOAD4 VMOVDQU64 (IN), Z8; VMOVDQU64 64(IN), Z9; VMOVDQU64 128(IN), Z10; VMOVDQU8.Z 192(IN), K1, Z11

#define TLAST1 \
	VBROADCASTI32X4 (LAST), RK; \
	VAESENCLAST X24, X20, X20; \
	VPXORQ RK, Z8, Z8; \
	VAESENCLAST Z8, Z0, Z0
#define TLAST2 TLAST1; VPXORQ RK, Z9, Z9; VAESENCLAST Z9, Z1, Z1
#define TLAST3 TLAST2; VPXORQ RK, Z10, Z10; VAESENCLAST Z10, Z2, Z2
#define TLAST4 TLAST3; VPXORQ RK, Z11, Z11; VAESENCLAST Z11, Z3, Z3

#define TSTORE1 VMOVDQU8 Z0, K1, (OUT)
#define TSTORE2 VMOVDQU64 Z0, (OUT); VMOVDQU8 Z1, K1, 64(OUT)
#define TSTORE3 VMOVDQU64 Z0, (OUT); VMOVDQU64 Z1, 64(OUT); VMOVDQU8 Z2, K1, 128(OUT)
#define TSTORE4 VMOVDQU64 Z0, (OUT); VMOVDQU64 Z1, 64(OUT); VMOVDQU64 Z2, 128(OUT); VMOVDQU8 Z3, K1, 192(OUT)

// THASH adds a register of ciphertext that is not the first one.
#define THASH(z, at) \
	VMOVDQU64 at, RK; \
	VPSHUFB SWAP, z, z; \
	MULADD(z, RK)

#define THASH1(a) \
	VMOVDQU64 (R8), RK; \
	VPSHUFB SWAP, a, a; \
	VPXORQ HASH, a, a; \
	MULADD(a, RK)
#define THASH2(a, b) THASH(b, 64(R8)); THASH1(a)
#define THASH3(a, b, c) THASH(b, 64(R8)); THASH(c, 128(R8)); THASH1(a)
#define THASH4(a, b, c, d) THASH(b, 64(R8)); THASH(c, 128(R8)); THASH(d, 192(R8)); THASH1(a)

// TAG reduces and sets XHASH to the tag.
#define TAG \
	REDUCE; \
	VPSHUFB X18, XHASH, XHASH; \
	VPXORQ X20, XHASH, XHASH

// EMPTY is the tail without text: it only hashes the lengths, and encrypts J0.
#define EMPTY(done) \
	TW0; \
	ROUNDS1TO9(TE0); \
	ROUNDSMORE(TE0, done); \
	VAESENCLAST (LAST), X20, X20; \
	VMOVDQU64 KEY_H1(KEY), X24; \
	VPCLMULQDQ $0x00, X24, XHASH, X22; \
	VPXORQ X22, X27, X27; \
	VPCLMULQDQ $0x11, X24, XHASH, X22; \
	VPXORQ X22, X25, X25; \
	VPCLMULQDQ $0x01, X24, XHASH, X22; \
	VPCLMULQDQ $0x10, X24, XHASH, X23; \
	VPTERNLOGD $0x96, X22, X23, X26
