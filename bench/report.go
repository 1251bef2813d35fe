package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"capstan/bench/internal/report"
)

func reportCommand(stdout io.Writer) *cobra.Command {
	var format, readme string
	var check bool
	cmd := &cobra.Command{
		Use:   "report FILE.json",
		Short: "Show a report of \"bench server\", or put it into a document",
		Long: `Prints a report, or, with --readme, replaces the section of a document between
the lines <!-- bench:begin … --> and <!-- bench:end -->. --check changes nothing
and fails if the section is not what the report says.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := report.LoadFile(args[0])
			if err != nil {
				return err
			}
			if readme == "" {
				return r.Write(stdout, report.Format(format))
			}
			return updateSection(r, readme, args[0], check)
		},
	}
	cmd.Flags().StringVar(&format, "format", string(report.Text), "text, markdown, json or benchstat")
	cmd.Flags().StringVar(&readme, "readme", "", "the document whose section to replace")
	cmd.Flags().BoolVar(&check, "check", false, "only check that the section is up to date")
	return cmd
}

func updateSection(r *report.Report, document, source string, check bool) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	full, err := linkFrom(document, strings.TrimSuffix(source, ".json")+".md")
	if err != nil {
		return err
	}
	text, err := r.ReplaceSection(string(old), full)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", document, err)
	case text == string(old):
		return nil
	case check:
		return fmt.Errorf("%s is not what %s says: run bench report %s --readme %s", document, source, source, document)
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

// linkFrom returns the path of a file as a document in another directory names
// it.
func linkFrom(document, file string) (string, error) {
	from, err := filepath.Abs(filepath.Dir(document))
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	link, err := filepath.Rel(from, to)
	return filepath.ToSlash(link), err
}

func compareCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD.txt NEW.txt",
		Short: "Compare two sets of figures in the format of Go benchmarks",
		Long: `Tells which figures differ beyond noise: by more than 5 %, and by more than the
runs of either side do among themselves. It fails if one is worse that doesn't
depend on the speed of the machine: loss, system calls, memory, the share of the
generator's rate that is captured without loss, and the ratio to the possible,
of all loads together, or of one if it is worse by half.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var sets [2]*report.Benchmarks
			for i, path := range args {
				file, err := os.Open(path)
				if err != nil {
					return err
				}
				sets[i], err = report.ReadBenchmarks(file)
				err = errors.Join(err, file.Close())
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			worse, err := report.Regressions(stdout, sets[0], sets[1])
			if err == nil && worse > 0 {
				err = fmt.Errorf("%d figures are worse", worse)
			}
			return err
		},
	}
}
