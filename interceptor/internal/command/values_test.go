package command

import (
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"capstan/pkg/reassembly"
)

// TestZero: 0 is refused, or means what the help says that it does.
func TestZero(t *testing.T) {
	runFlagSet().VisitAll(func(f *pflag.Flag) {
		zero, negative := "0", "-1"
		switch f.Value.Type() {
		case "int", "int64", "size":
		case "duration":
			zero, negative = "0s", "-1s"
		default:
			return
		}
		explained := strings.Contains(f.Usage, "0 = ")
		if err := f.Value.Set(zero); (err == nil) != explained {
			t.Errorf("--%s %s: %v, with the help %q", f.Name, zero, err, f.Usage)
		}
		if err := f.Value.Set(negative); err == nil {
			t.Errorf("--%s %s is taken", f.Name, negative)
		}
		if err := f.Value.Set(f.DefValue); err != nil {
			t.Errorf("--%s %s, the default: %v", f.Name, f.DefValue, err)
		}
	})
}

// TestValuesSayWhatTheyAre: sizes take units, and what is no number, or neither true nor false, is
// refused with the form that one has.
func TestValuesSayWhatTheyAre(t *testing.T) {
	runFlagSet().VisitAll(func(f *pflag.Flag) {
		var want string
		kind := f.Value.Type()
		switch {
		case kind == "size":
			want = "64KiB"
			if err := f.Value.Set("2MiB"); err != nil || f.Value.String() != "2097152" {
				t.Errorf("--%s 2MiB: %v, %s", f.Name, err, f.Value)
			}
		case strings.HasPrefix(kind, "int"):
			want = "no whole number"
			if strings.Contains(" "+f.Usage, " bytes") && !strings.Contains(f.Usage, "each byte") {
				t.Errorf("--%s takes no units: %s", f.Name, f.Usage)
			}
		case kind == "duration":
			want = "10s"
		case kind == "bool":
			want = "neither true nor false"
		default:
			return
		}
		if err := f.Value.Set("20 x"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "strconv") {
			t.Errorf("--%s: %v, want %q in it", f.Name, err, want)
		}
	})
}

func runFlagSet() *pflag.FlagSet {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	new(runFlags).register(flags)
	return flags
}

// TestNoWindow: no time is none, not the default.
func TestNoWindow(t *testing.T) {
	for flag, window := range map[string]func(reassembly.Config) time.Duration{
		"copy-window":    func(c reassembly.Config) time.Duration { return c.CopyWindow },
		"reorder-window": func(c reassembly.Config) time.Duration { return c.AckTolerance },
	} {
		for text, want := range map[string]bool{"0": false, "1ms": true} {
			var f recordFlags
			flags := pflag.NewFlagSet("read", pflag.ContinueOnError)
			f.register(flags)
			if err := flags.Set(flag, text); err != nil {
				t.Fatal(err)
			}
			if w := window(f.reassembly()); (w > 0) != want || w == 0 {
				t.Errorf("--%s %s: %v", flag, text, w)
			}
		}
	}
}

// TestDecodedWithinMemory: a body may decode to no more than its share of the cap, and
// what was asked for beyond is told of.
func TestDecodedWithinMemory(t *testing.T) {
	capture := writeCapture(t, 100, 1, 1)
	for args, lowered := range map[string]bool{
		"--memory=64000000 --max-decoded=8000001":   true,
		"--memory=64000000 --max-decoded=8000000":   false,
		"--memory=64000000":                         false,
		"--memory=64000000 --max-decoded=640000000": true,
	} {
		var f recordFlags
		flags := pflag.NewFlagSet("read", pflag.ContinueOnError)
		f.register(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		end := f.begin()
		f.boundDecoded(slog.New(slog.DiscardHandler))
		end()
		if f.decoded.MaxDecoded > 8_000_000 || (f.decoded.MaxDecoded < 8_000_000) != (args == "--memory=64000000") {
			t.Errorf("%s: %d bytes", args, f.decoded.MaxDecoded)
		}
		if f.decoded.MaxWindow != 2_000_000 {
			t.Errorf("%s: windows of %d bytes", args, f.decoded.MaxWindow)
		}
		status, _, stderr := runCommandLine(t, append([]string{"read", capture}, strings.Fields(args)...)...)
		if status != 0 || strings.Contains(stderr, "lowered to") != lowered {
			t.Errorf("%s: status %d\n%s", args, status, stderr)
		}
	}
}

// TestSourcesShareTheCap: what each shard may take of the cap is less where there are several
// sources, whoever divides them.
func TestSourcesShareTheCap(t *testing.T) {
	for captures, want := range map[int]int64{0: 1_000_000, 1: 1_000_000, 4: 250_000} {
		f := recordFlags{shards: 2, captures: captures}
		f.decoded.MaxWindow = 8 << 20
		f.memory = 64_000_000
		end := f.begin()
		f.boundDecoded(slog.New(slog.DiscardHandler))
		end()
		if f.decoded.MaxWindow != want {
			t.Errorf("%d sources: windows of %d bytes, want %d", captures, f.decoded.MaxWindow, want)
		}
	}
}

// TestTooLittleMemory: a cap below which the process can't stay is refused with what is
// needed, wherever it comes from.
func TestTooLittleMemory(t *testing.T) {
	capture := writeCapture(t, 100, 1, 1)
	for args, want := range map[string]string{
		"--memory=16777215":            "--shards 1 needs 16777216",
		"--memory=16777216 --shards=2": "--shards 2 needs 19922944",
		"--memory=16777216":            "",
		"--shards=256":                 "",
	} {
		status, _, stderr := runCommandLine(t, append([]string{"read", capture}, strings.Fields(args)...)...)
		if (status != 0) != (want != "") || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d\n%s", args, status, stderr)
		}
	}
	sources := []string{"-s", "rpcap://127.0.0.1:1/a", "-s", "rpcap://127.0.0.1:1/b", "--memory=22020095", "--shards=2"}
	if status, _, stderr := runCommandLine(t, append([]string{"run"}, sources...)...); status == 0 || !strings.Contains(stderr, "2 sources with --shards 2 need 22020096") {
		t.Errorf("status %d\n%s", status, stderr)
	}
	t.Setenv("GOMEMLIMIT", "10MiB")
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(10 << 20)) // as the runtime does at the start
	if status, _, stderr := runCommandLine(t, "read", capture); status == 0 || !strings.Contains(stderr, "needs") {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// TestNothingIsInferredUnasked: header fields that nothing proves are told to who asks for them.
func TestNothingIsInferredUnasked(t *testing.T) {
	for _, args := range [][]string{nil, {"--infer-grpc-fields"}} {
		var f recordFlags
		flags := pflag.NewFlagSet("read", pflag.ContinueOnError)
		f.register(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		if got, want := f.frames().InferFields, len(args) > 0; got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}
