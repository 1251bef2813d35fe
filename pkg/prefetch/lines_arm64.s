#include "textflag.h"

// func lines(p, groups uintptr)
TEXT ·lines(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD groups+8(FP), R1
next:
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	PRFM 128(R0), PLDL1KEEP
	PRFM 192(R0), PLDL1KEEP
	ADD  $256, R0
	SUBS $1, R1
	BNE  next
	RET

// func distantLines(p, groups uintptr)
TEXT ·distantLines(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD groups+8(FP), R1
next:
	PRFM (R0), PLDL2KEEP
	PRFM 64(R0), PLDL2KEEP
	PRFM 128(R0), PLDL2KEEP
	PRFM 192(R0), PLDL2KEEP
	ADD  $256, R0
	SUBS $1, R1
	BNE  next
	RET
