//go:build linux

// Package syscalls counts the system calls of processes, with a program on the
// kernel's raw tracepoint sys_enter. Counting costs every system call of the
// host some 50 ns, so it is nothing to do while processor time is measured.
package syscalls

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// maxProcesses is how many processes can be counted; the calls of more are not.
const maxProcesses = 1 << 14

// Counter counts the system calls of every process of the host.
type Counter struct {
	counts *ebpf.Map // process number (u32) to calls (u64) on each CPU
	prog   *ebpf.Program
	link   link.Link
}

// Start starts to count. It needs CAP_BPF and CAP_PERFMON, or root, and a kernel
// with CONFIG_FTRACE_SYSCALLS and CONFIG_BPF_EVENTS; where it can't count right,
// the error says why. The caller has to Close the Counter.
func Start() (*Counter, error) {
	c := &Counter{}
	if err := c.start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("count system calls: %w", err)
	}
	return c, nil
}

func (c *Counter) start() (err error) {
	c.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "bench_syscalls", Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: maxProcesses,
	})
	if err != nil {
		return err
	}
	c.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bench_syscalls", Type: ebpf.RawTracepoint, License: "Dual MIT/GPL", Instructions: c.program(),
	})
	if err != nil {
		return err
	}
	c.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: c.prog})
	if err != nil {
		return err
	}
	return c.check()
}

// program adds one to the count of the current process (thread group).
func (c *Counter) program() asm.Instructions {
	return asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, c.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "first"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), // of this CPU alone, so nobody else writes
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Ja.Label("done"),

		asm.Mov.Imm(asm.R1, 1).WithSymbol("first"),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, c.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY
		asm.FnMapUpdateElem.Call(),

		asm.Mov.Imm(asm.R0, 0).WithSymbol("done"),
		asm.Return(),
	}
}

// check counts calls of our own. In a PID namespace the kernel's numbers of
// processes are not those that we see.
func (c *Counter) check() error {
	const calls = 100
	before, err := c.Count(os.Getpid())
	if err != nil {
		return err
	}
	for range calls {
		unix.Getppid()
	}
	after, err := c.Count(os.Getpid())
	if err == nil && after < before+calls {
		err = errors.New("the kernel's process numbers are not those of /proc (another PID namespace?)")
	}
	return err
}

// Count returns the number of calls of a process, all its threads, since Start.
// It stays after the process has ended.
func (c *Counter) Count(pid int) (uint64, error) {
	var perCPU []uint64
	err := c.counts.Lookup(uint32(pid), &perCPU)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, nil
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, err
}

// Close ends the counting.
func (c *Counter) Close() error {
	var err error
	if c.link != nil {
		err = c.link.Close()
	}
	return errors.Join(err, c.prog.Close(), c.counts.Close()) // nil ones close
}
