package extcap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// installedName is the program's name in Wireshark's folder.
const installedName = "capstan-rpcap"

// install copies the running program into Wireshark's extcap folder: dir, or
// what tshark calls so if it is empty.
func install(ctx context.Context, dir string, stdout io.Writer) error {
	if dir == "" {
		var err error
		if dir, err = findFolder(ctx); err != nil {
			return fmt.Errorf("install: %w", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	to := filepath.Join(dir, installedName)
	if err := copyProgram(self, to); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	fmt.Fprintf(stdout, "installed %s: the next Wireshark or tshark lists the interface %q\n", to, interfaceName)
	return nil
}

// findFolder asks tshark for its folders: the user's own, which Wireshark has
// since version 4.2, or else the one for all users.
func findFolder(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "tshark", "-G", "folders").Output()
	if err != nil {
		return "", fmt.Errorf("ask tshark for its extcap folder (or name it with --install-dir): %w", err)
	}
	found := ""
	for line := range strings.Lines(string(out)) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "Personal Extcap path":
			return strings.TrimSpace(path), nil
		case "Extcap path", "Global Extcap path":
			found = strings.TrimSpace(path)
		}
	}
	if found == "" {
		return "", errors.New("tshark knows no extcap folder; name one with --install-dir")
	}
	return found, nil
}

// copyProgram replaces to by a copy of from, also if to is running.
func copyProgram(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".capstan-rpcap-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Chmod(0o755); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
