package pcapfilter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"capstan/pkg/capture"
	"capstan/pkg/sockfilter"
)

// judge compiles expressions by the tcpdump that is installed. It reads an
// empty capture file, so that no program uses what only a live socket knows.
type judge struct{ file string }

func newJudge(t testing.TB, linkType capture.LinkType) *judge {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = binary.LittleEndian.AppendUint32(header, 2|4<<16) // version 2.4
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, snapLen)
	header = binary.LittleEndian.AppendUint32(header, linkType.File())
	file := filepath.Join(t.TempDir(), "empty.pcap")
	if err := os.WriteFile(file, header, 0o600); err != nil {
		t.Fatal(err)
	}
	return &judge{file: file}
}

// snapLen is what tcpdump's programs return.
const snapLen = 262144

// errRefused is the judge's refusal of an expression.
var errRefused = errors.New("refused")

// compile returns tcpdump's program. Without optimisation it is longer.
func (j *judge) compile(expression string, optimise bool) (*sockfilter.Program, error) {
	arguments := []string{"-ddd", "-r", j.file}
	if !optimise {
		arguments = append(arguments, "-O")
	}
	var stderr strings.Builder
	cmd := exec.Command("tcpdump", append(arguments, "--", expression)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if strings.Contains(stderr.String(), "expression rejects all packets") {
		return sockfilter.Compile([]bpf.RawInstruction{{Op: codeReturn}})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errRefused, stderr.String())
	}
	program, err := parseProgram(string(out))
	if err != nil {
		return nil, err
	}
	return sockfilter.Compile(program)
}

// parseProgram reads the output of tcpdump -ddd: the number of instructions,
// then code, jt, jf and k of each.
func parseProgram(text string) ([]bpf.RawInstruction, error) {
	lines := strings.Fields(text)
	if len(lines) == 0 {
		return nil, errors.New("no program")
	}
	count, err := strconv.Atoi(lines[0])
	if err != nil || len(lines) != 1+4*count {
		return nil, fmt.Errorf("%d numbers for %q instructions", len(lines), lines[0])
	}
	program := make([]bpf.RawInstruction, count)
	for i := range program {
		var n [4]uint64
		for f := range n {
			if n[f], err = strconv.ParseUint(lines[1+4*i+f], 10, 32); err != nil {
				return nil, err
			}
		}
		program[i] = bpf.RawInstruction{Op: uint16(n[0]), Jt: uint8(n[1]), Jf: uint8(n[2]), K: uint32(n[3])}
	}
	return program, nil
}

// readExpressions returns the list that TestJudge goes through.
func readExpressions(t testing.TB) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "expressions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}
