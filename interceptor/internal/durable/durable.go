// Package durable has names of files outlast a crash of the host.
package durable

import (
	"errors"
	"os"
)

// SyncDir returns when the names of files in dir are on disk: those given before,
// and those taken away (fsync(2)).
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
