package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// openPipe returns the ends of a pipe that blocks, as os.Pipe's doesn't.
func openPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(ends[0]), "r"), os.NewFile(uintptr(ends[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// unread runs a command whose standard output is a pipe that nobody reads, ends it
// as the first signal does once that is full, and returns what the pipe holds.
func unread(t *testing.T, args ...string) (status int, held []byte, stderr string) {
	t.Helper()
	r, w := openPipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errors bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- Run(ctx, args, strings.NewReader(""), w, &errors) }() // waited for
	full := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.Fd()), Events: unix.POLLOUT}}, 0)
		return n == 0 && err == nil
	}
	for deadline := time.Now().Add(10 * time.Second); !full() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case status = <-ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("%v does not end", args)
	}
	w.Close()
	held, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return status, held, errors.String()
}

// TestNobodyReadsTheFile: one signal ends read though its standard output is not
// being read. What that holds is whole records, and the others are told as lost.
func TestNobodyReadsTheFile(t *testing.T) {
	capture := writeCapture(t, 10000, 20, 100)
	for name, args := range map[string][]string{"one": nil, "shards": {"--shards", "3"}, "sink": {"--config", writeFile(t, "sinks: [{max_records: 50, stdout: {format: json}}]\n")}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"read", "--ledger", "--drain-timeout", "100ms", capture}, args...)
			if name != "sink" {
				args = append(args, "-o", "json")
			}
			status, held, stderr := unread(t, args...)
			if status != ExitLost {
				t.Errorf("status %d\n%s", status, stderr)
			}
			if !bytes.HasSuffix(held, []byte("}\n")) {
				t.Fatalf("%d bytes are in the pipe, and the last record is not whole", len(held))
			}
			written := 0
			for line := range bytes.Lines(held) {
				written++
				if !json.Valid(line) {
					t.Fatalf("no record: %q", line)
				}
			}
			want := fmt.Sprintf("records written: %d (", written)
			if name == "sink" {
				want = fmt.Sprintf("%d delivered", written)
				if !strings.Contains(stderr, "sink stdout: ") || !strings.Contains(stderr, "records were not delivered") {
					t.Errorf("the loss is not told:\n%s", stderr)
				}
			} else if !strings.Contains(stderr, "standard output: ") || !strings.Contains(stderr, "records were not written: it is not being read") {
				t.Errorf("the loss is not told:\n%s", stderr)
			}
			if !strings.Contains(ungrouped(stderr), want) || strings.Contains(stderr, "does not balance") {
				t.Errorf("no %q in\n%s", want, stderr)
			}
		})
	}
}

// TestEndTakesTheDrainTimeoutOnce: engines that wait for a sink, and what is queued for it
// then, have one drain_timeout together, and so has a reader of standard output beside a sink.
func TestEndTakesTheDrainTimeoutOnce(t *testing.T) {
	capture := writeCapture(t, 10000, 20, 100)
	stuck := "sinks: [{name: stuck, policy: block, max_records: %d, kafka: {brokers: [\"127.0.0.1:1\"], topic: x}}]\n"
	const drain = 2 * time.Second
	for name, args := range map[string][]string{
		"engines wait":  {"--config", writeFile(t, fmt.Sprintf(stuck, 50))},
		"a reader, too": {"--config", writeFile(t, fmt.Sprintf(stuck, 100_000)), "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, w := openPipe(t)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			var stderr bytes.Buffer
			from := time.Now()
			status := Run(ctx, append([]string{"read", "--ledger", "--drain-timeout", drain.String(), capture}, args...), strings.NewReader(""), w, &stderr)
			took := time.Since(from) - 500*time.Millisecond
			if status != ExitLost || !strings.Contains(stderr.String(), "sink stuck: ") || strings.Contains(stderr.String(), "does not balance") {
				t.Errorf("status %d\n%s", status, stderr.String())
			}
			if took < drain-100*time.Millisecond || took > drain*3/2 {
				t.Errorf("the end took %v", took)
			}
		})
	}
}

// TestNobodyReadsTheDump: one signal ends dump, too, which says what is missing.
func TestNobodyReadsTheDump(t *testing.T) {
	var b []byte
	for i := range 200 {
		b = rpcaptest.AppendPacket(b, rpcap.PacketHeader{Number: uint32(i + 1)}, make([]byte, 1500))
	}
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0), rpcaptest.SendData(b),
		rpcaptest.ExpectType(rpcap.TypeStatsRequest), rpcaptest.Send(&rpcap.StatsReply{}),
		rpcaptest.ExpectType(rpcap.TypeEndCapRequest), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
	)
	u := server.URL()
	u.Device = "eth0"
	status, held, stderr := unread(t, "dump", u.String(), "--write", "-")
	if status != ExitLost || len(held) < 1<<16 || !strings.Contains(stderr, "standard output: it is not being read") {
		t.Errorf("status %d, %d bytes\n%s", status, len(held), stderr)
	}
}

// TestNobodyReadsStandardError: nor does that keep a command from its end, and the
// account is there for who reads later.
func TestNobodyReadsStandardError(t *testing.T) {
	r, w := openPipe(t)
	full, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, full)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan int, 1)
	go func() { // waited for
		ended <- Run(ctx, []string{"read", "--ledger", writeCapture(t, 10000, 1, 1)}, strings.NewReader(""), io.Discard, w)
	}()
	select {
	case status := <-ended:
		if status != ExitLost {
			t.Errorf("status %d", status)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	w.Close()
	if text, err := io.ReadAll(r); err != nil || len(text) <= full {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// fullDisk takes nothing.
type fullDisk struct{ delivery.Sink }

func (fullDisk) Deliver(context.Context, []*delivery.Record) error {
	return &os.PathError{Op: "write", Path: "out", Err: unix.ENOSPC}
}

// TestFullDiskEndsReading: the sink tells whoever reads files, who can do so again, and
// is tried again meanwhile.
func TestFullDiskEndsReading(t *testing.T) {
	var left error
	s := &unwaited{fullDisk{}, "file", func(err error) { left = err }}
	if err := s.Deliver(t.Context(), nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("delivered: %v", err)
	}
	if left == nil || left.Error() != "the sink file: write out: no space left on device" {
		t.Errorf("left with %v", left)
	}
	o := &outlets{left: func(error) {}}
	for _, o.reads = range []bool{true, false} {
		s, err := o.openSink(&config.Sink{File: &config.FileSink{Path: filepath.Join(t.TempDir(), "out")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, is := s.(*unwaited); is != o.reads {
			t.Errorf("reading files %v: the sink is a %T", o.reads, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
