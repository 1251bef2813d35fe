package sockfilter

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// PermissionError says that the process lacks a capability that the kernel
// wants for maps and programs.
type PermissionError struct {
	Capability string // as capabilities(7) spells it
	Err        error  // the errno
}

// Error names the capability and the cause.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("sockfilter: needs %s: %v", e.Capability, e.Err)
}

// Unwrap returns Err.
func (e *PermissionError) Unwrap() error { return e.Err }

// kernelError wraps what the kernel answered to op.
func kernelError(op string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return &PermissionError{Capability: "CAP_BPF", Err: fmt.Errorf("%s: %w", op, err)}
	}
	return fmt.Errorf("sockfilter: %s: %w", op, err)
}
