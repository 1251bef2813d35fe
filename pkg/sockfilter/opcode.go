package sockfilter

// Opcodes of classic BPF, the complete set of bpf_check_classic
// (net/core/filter.c of Linux): class | size | mode, or class | operation |
// source, with the values of linux/bpf_common.h.
const (
	opLoadAbsW = classLD | sizeW | modeABS
	opLoadAbsH = classLD | sizeH | modeABS
	opLoadAbsB = classLD | sizeB | modeABS
	opLoadIndW = classLD | sizeW | modeIND
	opLoadIndH = classLD | sizeH | modeIND
	opLoadIndB = classLD | sizeB | modeIND
	opLoadImm  = classLD | modeIMM
	opLoadMem  = classLD | modeMEM
	opLoadLen  = classLD | modeLEN

	opLoadXImm = classLDX | modeIMM
	opLoadXMem = classLDX | modeMEM
	opLoadXLen = classLDX | modeLEN
	opLoadXMSH = classLDX | sizeB | modeMSH

	opStore  = classST
	opStoreX = classSTX

	opAddK = classALU | aluADD
	opAddX = classALU | aluADD | sourceX
	opSubK = classALU | aluSUB
	opSubX = classALU | aluSUB | sourceX
	opMulK = classALU | aluMUL
	opMulX = classALU | aluMUL | sourceX
	opDivK = classALU | aluDIV
	opDivX = classALU | aluDIV | sourceX
	opModK = classALU | aluMOD
	opModX = classALU | aluMOD | sourceX
	opAndK = classALU | aluAND
	opAndX = classALU | aluAND | sourceX
	opOrK  = classALU | aluOR
	opOrX  = classALU | aluOR | sourceX
	opXorK = classALU | aluXOR
	opXorX = classALU | aluXOR | sourceX
	opLshK = classALU | aluLSH
	opLshX = classALU | aluLSH | sourceX
	opRshK = classALU | aluRSH
	opRshX = classALU | aluRSH | sourceX
	opNeg  = classALU | aluNEG

	opJump     = classJMP | jumpJA
	opJumpEqK  = classJMP | jumpJEQ
	opJumpEqX  = classJMP | jumpJEQ | sourceX
	opJumpGtK  = classJMP | jumpJGT
	opJumpGtX  = classJMP | jumpJGT | sourceX
	opJumpGeK  = classJMP | jumpJGE
	opJumpGeX  = classJMP | jumpJGE | sourceX
	opJumpSetK = classJMP | jumpJSET
	opJumpSetX = classJMP | jumpJSET | sourceX

	opRetK = classRET
	opRetA = classRET | retA

	opTAX = classMISC
	opTXA = classMISC | miscTXA
)

const (
	classLD   = 0x00
	classLDX  = 0x01
	classST   = 0x02
	classSTX  = 0x03
	classALU  = 0x04
	classJMP  = 0x05
	classRET  = 0x06
	classMISC = 0x07

	sizeW = 0x00
	sizeH = 0x08
	sizeB = 0x10

	modeIMM = 0x00
	modeABS = 0x20
	modeIND = 0x40
	modeMEM = 0x60
	modeLEN = 0x80
	modeMSH = 0xa0

	sourceX = 0x08

	aluADD = 0x00
	aluSUB = 0x10
	aluMUL = 0x20
	aluDIV = 0x30
	aluOR  = 0x40
	aluAND = 0x50
	aluLSH = 0x60
	aluRSH = 0x70
	aluNEG = 0x80
	aluMOD = 0x90
	aluXOR = 0xa0

	jumpJA   = 0x00
	jumpJEQ  = 0x10
	jumpJGT  = 0x20
	jumpJGE  = 0x30
	jumpJSET = 0x40

	retA    = 0x10
	miscTXA = 0x80
)

// Masks of the parts of an opcode.
const (
	classMask     = 0x07
	sizeMask      = 0x18
	aluMask       = 0xf0
	jumpMask      = 0xf0
	scratchWords  = 16   // M[0] … M[15]
	shiftLimit    = 32   // of the 32-bit accumulator
	mshLengthMask = 0x0f // LDX MSH: IPv4's header length, in words
)

// Load offsets from here on are negative numbers with a meaning of their own
// (linux/filter.h).
const (
	offsetAncillary = 0xffff_f000 // SKF_AD_OFF
	offsetNetwork   = 0xfff0_0000 // SKF_NET_OFF
	offsetLink      = 0xffe0_0000 // SKF_LL_OFF
	// maxOffset is the largest ordinary one. Loads between it and offsetLink
	// always fail.
	maxOffset = 0x7fff_ffff
)

// Ancillary loads, as distances from offsetAncillary (linux/filter.h, SKF_AD_).
const (
	adProtocol       = 0
	adPacketType     = 4
	adInterface      = 8
	adAttribute      = 12 // NLATTR
	adNestAttribute  = 16 // NLATTR_NEST
	adMark           = 20
	adQueue          = 24
	adHardwareType   = 28 // HATYPE
	adHash           = 32 // RXHASH
	adCPU            = 36
	adXorX           = 40 // ALU_XOR_X
	adVLANTag        = 44
	adVLANTagPresent = 48
	adPayloadOffset  = 52 // PAY_OFFSET
	adRandom         = 56
	adVLANTPID       = 60
)

// known reports whether op is an instruction.
func known(op uint16) bool {
	switch op {
	case opLoadAbsW, opLoadAbsH, opLoadAbsB, opLoadIndW, opLoadIndH, opLoadIndB,
		opLoadImm, opLoadMem, opLoadLen, opLoadXImm, opLoadXMem, opLoadXLen, opLoadXMSH, opStore, opStoreX,
		opAddK, opAddX, opSubK, opSubX, opMulK, opMulX, opDivK, opDivX, opModK, opModX,
		opAndK, opAndX, opOrK, opOrX, opXorK, opXorX, opLshK, opLshX, opRshK, opRshX, opNeg,
		opJump, opJumpEqK, opJumpEqX, opJumpGtK, opJumpGtX, opJumpGeK, opJumpGeX, opJumpSetK, opJumpSetX,
		opRetK, opRetA, opTAX, opTXA:
		return true
	}
	return false
}
