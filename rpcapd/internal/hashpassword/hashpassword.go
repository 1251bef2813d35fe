// Package hashpassword makes the lines of a credentials file.
package hashpassword

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"capstan/rpcapd/internal/auth"
)

// Usage is the text of --help.
const Usage = `USAGE: rpcapd hash-password NAME

Asks for a password, twice and without showing it, and prints a line for the
file of rpcapd --credentials. If standard input is no terminal, the password is
its first line.
`

// maxLineLen bounds what is read; it is more than a password may have.
const maxLineLen = 4096

// Run is the command. It returns the exit status.
func Run(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		fmt.Fprint(stdout, Usage)
		return 0
	}
	if len(args) != 1 {
		fmt.Fprint(stderr, Usage)
		return 1
	}
	line, err := makeLine(args[0], stdin, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "rpcapd hash-password: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, line)
	return 0
}

func makeLine(name string, stdin *os.File, prompts io.Writer) (string, error) {
	if err := auth.CheckName(name); err != nil {
		return "", err
	}
	password, err := readPassword(stdin, prompts)
	if err != nil {
		return "", err
	}
	defer clear(password)
	hash, err := auth.NewHash(password)
	if err != nil {
		return "", err
	}
	return name + ":" + hash, nil
}

var errDiffer = errors.New("the two passwords differ")

func readPassword(stdin *os.File, prompts io.Writer) ([]byte, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(stdin, maxLineLen)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	first, err := ask(stdin, prompts, "Password: ")
	if err != nil {
		return nil, err
	}
	second, err := ask(stdin, prompts, "Again: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return nil, errDiffer
	}
	return first, nil
}

func ask(stdin *os.File, prompts io.Writer, prompt string) ([]byte, error) {
	fmt.Fprint(prompts, prompt)
	defer fmt.Fprintln(prompts)
	return term.ReadPassword(int(stdin.Fd()))
}
