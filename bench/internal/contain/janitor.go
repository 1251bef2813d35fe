//go:build linux

package contain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// JanitorName is the subcommand of bench that calls [Clean].
const JanitorName = "contain-janitor"

// Dir is a temporary directory that goes with the process that made it, even if
// that is killed: a janitor, a process of its own, waits for its end.
type Dir struct {
	path    string
	janitor *exec.Cmd
	line    io.Closer // its end tells the janitor
}

// NewDir makes a directory, which everybody may enter: servers may give their
// privileges up, and still have to reach their files.
func NewDir(self string) (*Dir, error) {
	path, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, janitor: exec.Command(self, JanitorName, path)}
	// Nothing that ends us may end the janitor with us.
	d.janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	line, err := d.janitor.StdinPipe()
	if err == nil {
		d.line = line
		err = os.Chmod(path, 0o755)
	}
	if err == nil {
		err = d.janitor.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("temporary directory: %w", err), os.RemoveAll(path))
	}
	return d, nil
}

// Path returns where the directory is.
func (d *Dir) Path() string { return d.path }

// Close removes the directory.
func (d *Dir) Close() error {
	err := d.line.Close()
	return errors.Join(err, d.janitor.Wait())
}

// Clean waits for the end of in and removes the directory.
func Clean(in io.Reader, path string) error {
	_, err := io.Copy(io.Discard, in)
	return errors.Join(err, os.RemoveAll(path))
}
