//go:build linux

package device

import (
	"errors"

	"capstan/pkg/rpcap"
	"capstan/pkg/sockfilter"
)

// selection chooses among the interfaces of a device of several, by their
// names: in the kernel, as far as it has been told, and here otherwise.
type selection struct {
	watcher *linkWatcher
	table   *sockfilter.InterfaceTable // nil without CAP_BPF
}

// newSelection watches the interfaces, if d wants only some of them; else it
// returns nil.
func newSelection(d rpcap.Device) (*selection, error) {
	if d.If == "" && d.NotIf == "" {
		return nil, nil
	}
	table, err := sockfilter.NewInterfaceTable()
	if missing := (*sockfilter.PermissionError)(nil); err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	s := &selection{table: table}
	// An interface that nobody can name is no match of if.
	if s.watcher, err = watchLinks(d.MatchInterface, d.If == "", s.tell); err != nil {
		return nil, errors.Join(err, s.closeTable())
	}
	return s, nil
}

// tell passes a verdict on to the kernel. If it can't take it, it passes the
// frames, which are left out here.
func (s *selection) tell(index int, want bool) {
	switch {
	case s.table == nil:
	case want:
		_ = s.table.Include(index)
	default:
		_ = s.table.Exclude(index)
	}
}

// Close ends the watch. The filter keeps what it has been told. A nil selection
// has nothing to close.
func (s *selection) Close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.watcher.Close(), s.closeTable())
}

func (s *selection) closeTable() error {
	if s.table == nil {
		return nil
	}
	return s.table.Close()
}
