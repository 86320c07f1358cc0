// VDPBF16PS(a, b, c) adds to each float32 lane of register Zc the two products of
// the bfloat16 pairs in the same lanes of Za and Zb: the odd elements' first, then
// the even ones', each sum rounded to nearest even; subnormal numbers count as 0.
// a, b and c are numbers of registers, 0 to 31.
//
// Go's assembler lacks it. It is EVEX.512.F3.0F38.W0 52 /r (Intel's instruction set
// extensions, 319433): the prefix 62 and three bytes hold the map (0F38 = 2), W = 0
// and the F3 (pp = 2), the length (512 = 2), and, inverted, the bits of register
// numbers that do not fit elsewhere: of a bits 4 and 3 (X, B), of b all five (vvvv,
// V'), of c bits 3 and 4 (R, R'). The last byte has the low three bits of c and a.
#define VDPBF16PS(a, b, c) \
	BYTE $0x62; \
	BYTE $(0x02 | ((31-c)&8)<<4 | ((31-a)&24)<<2 | (31-c)&16); \
	BYTE $(0x06 | ((31-b)&15)<<3); \
	BYTE $(0x40 | ((31-b)&16)>>1); \
	BYTE $0x52; \
	BYTE $(0xc0 | (c&7)<<3 | a&7)
