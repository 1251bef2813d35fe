package pcapfilter

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/pkg/capfile"
	"capstan/pkg/capture"
)

// capturedFrames returns frames of a link type out of the corpus of capture
// files, some of each file, or none if there is no corpus.
func capturedFrames(t testing.TB, linkType capture.LinkType) []frame {
	t.Helper()
	const perFile = 12
	dir := cmp.Or(os.Getenv("CAPTURES_DIR"), filepath.Join("..", "..", "..", "shared", "captures"))
	var list []frame
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(d.Name(), ".pcap") || d.IsDir() {
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		r, err := capfile.NewReader(file)
		if err != nil {
			return nil // not every file of the corpus is whole
		}
		var f capture.Frame
		for range perFile {
			if r.Next(&f) != nil {
				break
			}
			if f.LinkType.Canonical() == linkType {
				data := slices.Clone(f.Data)
				list = append(list, frame{data, f.Len, data})
			}
		}
		return nil
	})
	return list
}
