#include "textflag.h"

// func prefetch(p unsafe.Pointer, bytes, stride, rows int)
TEXT ·prefetch(SB), NOSPLIT, $0-32
	MOVQ p+0(FP), DI
	MOVQ bytes+8(FP), BX
	MOVQ stride+16(FP), DX
	MOVQ rows+24(FP), CX

row:
	MOVQ DI, SI
	LEAQ (DI)(BX*1), R8

line:
	PREFETCHT1 (SI)
	ADDQ $64, SI
	CMPQ SI, R8
	JLT  line
	ADDQ DX, DI
	DECQ CX
	JNZ  row
	RET
