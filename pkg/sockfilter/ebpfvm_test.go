package sockfilter

import (
	"encoding/binary"
	"math/bits"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// ebpfVM runs the instructions that the translator emits without a kernel, as
// the kernel's interpreter does (kernel/bpf/core.c), so that a fuzzer may
// translate as many programs as it likes.
type ebpfVM struct {
	t     testing.TB
	code  asm.Instructions
	skb   *skb
	regs  [11]uint64
	stack [512]byte
	ended bool // by a load out of range
}

// skb is a frame as the kernel has it.
type skb struct {
	data          []byte
	networkOffset int
	fields        map[int16]uint32 // of struct __sk_buff
	cpu, random   uint32
	// linear is how much of the frame lies in its first piece of memory, which
	// is all that loads relative to the network header reach on old kernels.
	linear int
}

// Addresses that aren't in the frame.
const (
	vmContext = 1 << 32
	vmStack   = 1<<33 + 512 // the end of the stack
)

// run returns the verdict.
func (vm *ebpfVM) run() uint32 {
	vm.regs[asm.R1], vm.regs[asm.RFP] = vmContext, vmStack
	for pc := 0; ; pc++ {
		if pc >= len(vm.code) {
			vm.t.Fatalf("the program runs past its end")
		}
		ins := vm.code[pc]
		class := ins.OpCode.Class()
		switch class {
		case asm.ALUClass, asm.ALU64Class:
			vm.alu(ins, class == asm.ALUClass)
		case asm.JumpClass, asm.Jump32Class:
			switch ins.OpCode.JumpOp() {
			case asm.Exit:
				return uint32(vm.regs[asm.R0])
			case asm.Call:
				vm.call(asm.BuiltinFunc(ins.Constant))
			case asm.Ja:
				if class == asm.Jump32Class {
					pc += int(ins.Constant)
				} else {
					pc += int(ins.Offset)
				}
			default:
				if vm.taken(ins, class == asm.Jump32Class) {
					pc += int(ins.Offset)
				}
			}
		case asm.LdClass, asm.LdXClass, asm.StXClass:
			vm.memory(ins)
		default:
			vm.t.Fatalf("instruction %d: class %v", pc, class)
		}
		if vm.ended {
			return 0
		}
	}
}

func (vm *ebpfVM) operand(ins asm.Instruction) uint64 {
	if ins.OpCode.Source() == asm.RegSource {
		return vm.regs[ins.Src]
	}
	return uint64(ins.Constant)
}

func (vm *ebpfVM) alu(ins asm.Instruction, word bool) {
	dst, src := vm.regs[ins.Dst], vm.operand(ins)
	op := ins.OpCode.ALUOp()
	if op == asm.Swap { // HostTo: Constant is the number of bits
		if ins.OpCode.Endianness() == asm.BE {
			dst = bits.ReverseBytes64(dst) >> (64 - ins.Constant)
		}
		vm.regs[ins.Dst] = dst
		return
	}
	width := uint64(64)
	if word {
		dst, src, width = uint64(uint32(dst)), uint64(uint32(src)), 32
	}
	switch op {
	case asm.Add:
		dst += src
	case asm.Sub:
		dst -= src
	case asm.Mul:
		dst *= src
	case asm.Div:
		dst /= src
	case asm.Mod:
		dst %= src
	case asm.And:
		dst &= src
	case asm.Or:
		dst |= src
	case asm.Xor:
		dst ^= src
	case asm.LSh:
		dst <<= src % width
	case asm.RSh:
		dst >>= src % width
	case asm.Neg:
		dst = -dst
	case asm.Mov:
		dst = src
	default:
		vm.t.Fatalf("operation %v", op)
	}
	if word {
		dst = uint64(uint32(dst))
	}
	vm.regs[ins.Dst] = dst
}

func (vm *ebpfVM) taken(ins asm.Instruction, word bool) bool {
	dst, src := vm.regs[ins.Dst], vm.operand(ins)
	if word {
		dst, src = uint64(uint32(dst)), uint64(uint32(src))
	}
	switch ins.OpCode.JumpOp() {
	case asm.JEq:
		return dst == src
	case asm.JNE:
		return dst != src
	case asm.JGT:
		return dst > src
	case asm.JGE:
		return dst >= src
	case asm.JLT:
		return dst < src
	case asm.JLE:
		return dst <= src
	case asm.JSet:
		return dst&src != 0
	}
	vm.t.Fatalf("jump %v", ins)
	return false
}

func (vm *ebpfVM) memory(ins asm.Instruction) {
	switch ins.OpCode.Mode() {
	case asm.AbsMode:
		vm.load(int64(int32(ins.Constant)), ins.OpCode.Size().Sizeof())
		return
	case asm.IndMode:
		vm.load(int64(int32(uint32(vm.regs[ins.Src])+uint32(ins.Constant))), ins.OpCode.Size().Sizeof())
		return
	case asm.MemMode:
	default:
		vm.t.Fatalf("memory access %v", ins)
	}
	if ins.OpCode.Class() == asm.StXClass {
		at := vm.stackAt(vm.regs[ins.Dst]+uint64(int64(ins.Offset)), ins.OpCode.Size().Sizeof())
		switch ins.OpCode.Size() {
		case asm.DWord:
			binary.NativeEndian.PutUint64(at, vm.regs[ins.Src])
		default:
			vm.t.Fatalf("store %v", ins)
		}
		return
	}
	address := vm.regs[ins.Src] + uint64(int64(ins.Offset))
	if ins.Src == regCtx {
		value, ok := vm.skb.fields[ins.Offset]
		if vm.regs[ins.Src] != vmContext || !ok || ins.OpCode.Size() != asm.Word {
			vm.t.Fatalf("load of the context: %v", ins)
		}
		vm.regs[ins.Dst] = uint64(value)
		return
	}
	at := vm.stackAt(address, ins.OpCode.Size().Sizeof())
	switch len(at) {
	case 8:
		vm.regs[ins.Dst] = binary.NativeEndian.Uint64(at)
	case 4:
		vm.regs[ins.Dst] = uint64(binary.NativeEndian.Uint32(at))
	case 2:
		vm.regs[ins.Dst] = uint64(binary.NativeEndian.Uint16(at))
	case 1:
		vm.regs[ins.Dst] = uint64(at[0])
	}
}

func (vm *ebpfVM) stackAt(address uint64, n int) []byte {
	offset := int64(address) - vmStack + 512
	if offset < 0 || offset+int64(n) > 512 || n > 1 && offset%int64(n) != 0 {
		vm.t.Fatalf("access to the stack at %d, %d bytes", offset-512, n)
	}
	return vm.stack[offset : offset+int64(n)]
}

// load is LD_ABS and LD_IND: R0 gets the bytes in host order, R1 to R5 are
// destroyed.
func (vm *ebpfVM) load(offset int64, n int) {
	if vm.regs[regCtx] != vmContext {
		vm.t.Fatalf("load without the context in R6")
	}
	for r := asm.R1; r <= asm.R5; r++ {
		vm.regs[r] = 0xdead_beef_dead_beef
	}
	if offset < 0 {
		offset -= int64(offsetNetwork) - 1<<32
		if offset < 0 {
			vm.t.Fatalf("load relative to something else than the network header")
		}
		offset += int64(vm.skb.networkOffset)
		if offset+int64(n) > int64(vm.skb.linear) {
			vm.ended = true
			return
		}
	}
	if offset+int64(n) > int64(len(vm.skb.data)) {
		vm.ended = true
		return
	}
	b := vm.skb.data[offset : offset+int64(n)]
	switch n {
	case 4:
		vm.regs[asm.R0] = uint64(binary.BigEndian.Uint32(b))
	case 2:
		vm.regs[asm.R0] = uint64(binary.BigEndian.Uint16(b))
	default:
		vm.regs[asm.R0] = uint64(b[0])
	}
}

func (vm *ebpfVM) call(f asm.BuiltinFunc) {
	switch f {
	case asm.FnGetSmpProcessorId:
		vm.regs[asm.R0] = uint64(vm.skb.cpu)
	case asm.FnGetPrandomU32:
		vm.regs[asm.R0] = uint64(vm.skb.random)
	case asm.FnSkbLoadBytesRelative:
		n := int(vm.regs[asm.R4])
		at := vm.stackAt(vm.regs[asm.R3], n)
		start := vm.regs[asm.R2] + uint64(vm.skb.networkOffset)
		if vm.regs[asm.R1] != vmContext || vm.regs[asm.R5] != startNetwork {
			vm.t.Fatalf("arguments of bpf_skb_load_bytes_relative: %x", vm.regs)
		}
		if vm.regs[asm.R2] > 0xffff || start+uint64(n) > uint64(vm.skb.linear) {
			vm.regs[asm.R0] = 1<<64 - 14 // -EFAULT
		} else {
			copy(at, vm.skb.data[start:])
			vm.regs[asm.R0] = 0
		}
	default:
		vm.t.Fatalf("call of %v", f)
	}
	for r := asm.R1; r <= asm.R5; r++ {
		vm.regs[r] = 0xdead_beef_dead_beef
	}
}
