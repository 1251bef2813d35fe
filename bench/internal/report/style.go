//go:build linux

package report

import (
	"strings"
	"text/tabwriter"
)

// style is a way to write headings, paragraphs and tables.
type style interface {
	heading(b *strings.Builder, level int, text string)
	paragraph(b *strings.Builder, text string)
	list(b *strings.Builder, items []string)
	table(b *strings.Builder, header []string, rows [][]string)
}

// textStyle is for a terminal.
type textStyle struct{}

func (textStyle) heading(b *strings.Builder, _ int, text string) {
	b.WriteString("\n" + strings.ToUpper(text) + "\n")
}

func (textStyle) paragraph(b *strings.Builder, text string) { b.WriteString(text + "\n") }

func (textStyle) list(b *strings.Builder, items []string) {
	for _, item := range items {
		b.WriteString("- " + item + "\n")
	}
}

func (textStyle) table(b *strings.Builder, header []string, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		_, _ = w.Write([]byte(strings.Join(row, "\t") + "\n")) // a Builder takes everything
	}
	_ = w.Flush()
}

// markdownStyle is for a repository.
type markdownStyle struct{}

func (markdownStyle) heading(b *strings.Builder, level int, text string) {
	b.WriteString(strings.Repeat("#", level) + " " + text + "\n\n")
}

func (markdownStyle) paragraph(b *strings.Builder, text string) { b.WriteString(text + "\n\n") }

func (markdownStyle) list(b *strings.Builder, items []string) {
	for _, item := range items {
		b.WriteString("- " + item + "\n")
	}
	b.WriteString("\n")
}

func (markdownStyle) table(b *strings.Builder, header []string, rows [][]string) {
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(header)
	b.WriteString(strings.Repeat("|---", len(header)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	b.WriteString("\n")
}
