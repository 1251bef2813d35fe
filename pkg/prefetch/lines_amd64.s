#include "textflag.h"

// func lines(p, groups uintptr)
TEXT ·lines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ groups+8(FP), CX
next:
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	PREFETCHT0 128(AX)
	PREFETCHT0 192(AX)
	ADDQ $256, AX
	DECQ CX
	JNZ  next
	RET

// func distantLines(p, groups uintptr)
TEXT ·distantLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ groups+8(FP), CX
next:
	PREFETCHT1 (AX)
	PREFETCHT1 64(AX)
	PREFETCHT1 128(AX)
	PREFETCHT1 192(AX)
	ADDQ $256, AX
	DECQ CX
	JNZ  next
	RET
