package sockfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// VerifierDeadline bounds how long the kernel may verify one client's program.
// What takes longer is refused, and left to the interpreter.
const VerifierDeadline = time.Second

// ownDeadline bounds the verification of our own programs, which takes
// milliseconds on an idle machine.
const ownDeadline = time.Minute

// signalInterval is how often a verifier that shall end is told so. The first
// signal may come before the thread has entered the kernel.
const signalInterval = 10 * time.Millisecond

// license of our programs. They use no function that is reserved to the GPL.
var license = []byte("Dual MIT/GPL\x00")

var (
	// verifiers let the kernel verify one short and one long client's program
	// at a time in this process. They guard no data but the host's processors:
	// a hostile program keeps one busy until the deadline, and several clients
	// must not keep several busy; but who wants "tcp port 80" must not wait for
	// those who want thousands of instructions. Our own programs wait for
	// neither.
	verifiers struct{ short, long sync.Mutex }

	paceMu   sync.Mutex
	loadPace pace // guarded by paceMu
)

// loadProgram loads a program of ours.
func loadProgram(name string, ins asm.Instructions) (*ebpf.Program, error) {
	return loadWithin(ownDeadline, name, ins)
}

// longProgram is from how many instructions on a translated program is a long
// one. Filters that people write have less.
const longProgram = 1024

// loadClient loads a translated program. The error is
// [os.ErrDeadlineExceeded] if the verifier took too long.
func loadClient(ins asm.Instructions) (*ebpf.Program, error) {
	verifier := &verifiers.short
	if len(ins) >= longProgram {
		verifier = &verifiers.long
	}
	verifier.Lock()
	defer verifier.Unlock()
	return loadWithin(VerifierDeadline, "capstan_client", ins)
}

// progLoadAttr is the part of union bpf_attr that BPF_PROG_LOAD reads
// (linux/bpf.h).
type progLoadAttr struct {
	progType, count   uint32
	instructions      uint64
	license           uint64
	logLevel, logSize uint32
	logBuf            uint64
	kernVersion       uint32
	progFlags         uint32
	name              [16]byte
}

// loadWithin loads a program, or gives up. It does what ebpf.NewProgram does
// except for repeating a call that a signal has interrupted, for ever: the
// verifier looks for signals at each step (do_check in kernel/bpf/verifier.c),
// which is the only way to stop it. There is no log, or a refused program would
// be verified twice.
func loadWithin(limit time.Duration, name string, ins asm.Instructions) (*ebpf.Program, error) {
	var code bytes.Buffer
	if err := ins.Marshal(&code, hostOrder()); err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	attr := &progLoadAttr{progType: uint32(ebpf.SocketFilter), count: uint32(code.Len() / asm.InstructionSize)}
	copy(attr.name[:len(attr.name)-1], name)
	var pin runtime.Pinner
	defer pin.Unpin()
	address := func(b []byte) uint64 {
		pin.Pin(&b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	attr.instructions, attr.license = address(code.Bytes()), address(license)

	paceLoad()
	defer interruptAfter(limit)()
	for deadline := time.Now().Add(limit); ; {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		switch {
		case errno == 0:
			return ebpf.NewProgramFromFD(int(fd))
		case !errors.Is(errno, unix.EAGAIN):
			return nil, errno
		case !time.Now().Before(deadline):
			return nil, os.ErrDeadlineExceeded
		}
		// Some other signal, a profiler's for one: again.
	}
}

// paceLoad waits until another program may be loaded.
func paceLoad() {
	paceMu.Lock()
	wait := loadPace.take(time.Now())
	paceMu.Unlock()
	time.Sleep(wait)
}

// hostOrder is binary.NativeEndian as the assembler knows it.
func hostOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// interruptAfter sends this thread signals from limit on, until the returned
// function is called by the same goroutine. The signal is the one that the Go
// runtime sends itself, and ignores where it has no meaning.
func interruptAfter(limit time.Duration) (stop func()) {
	runtime.LockOSThread()
	thread := unix.Gettid()
	stopped := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { // ended by stop, which waits
		for wait := time.After(limit); ; wait = time.After(signalInterval) {
			select {
			case <-stopped:
				return
			case <-wait:
				_ = unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
			}
		}
	})
	return func() {
		close(stopped)
		done.Wait()
		runtime.UnlockOSThread()
	}
}
