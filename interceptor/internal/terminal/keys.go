package terminal

import (
	tea "charm.land/bubbletea/v2"
)

// key does what a key means.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	m.message = ""
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	switch m.mode {
	case filterPrompt, searchPrompt:
		m.promptKey(k)
		return nil
	case helpMode:
		m.mode = listMode
		return nil
	}
	switch k.String() {
	case "q":
		if m.mode == detailMode {
			m.mode = listMode
			return nil
		}
		return tea.Quit
	case "?":
		m.mode = helpMode
	case "p", "space":
		m.pause()
	case "f":
		m.before, m.mode, m.input = m.mode, filterPrompt, []rune(m.filter)
	case "/":
		m.before, m.mode, m.input = m.mode, searchPrompt, nil
	case "n":
		m.find(1)
	case "N":
		m.find(-1)
	case "c":
		m.records, m.held, m.dropped, m.cursor, m.top, m.tail = nil, nil, 0, 0, 0, true
		m.mode = listMode
	case "left", "right", "h", "l":
		m.sideways(k.String())
	case "enter":
		m.open()
	case "esc", "backspace":
		m.mode = listMode
	default:
		m.moveKey(k.String())
	}
	return nil
}

// sideways opens the record under the cursor, or the one before or behind the one
// that is open.
func (m *model) sideways(k string) {
	by := map[string]int{"left": -1, "h": -1, "right": 1, "l": 1}[k]
	switch {
	case m.mode == detailMode && m.cursor+by >= 0 && m.cursor+by < len(m.records):
		m.move(m.cursor + by)
		m.open()
	case m.mode == listMode && by > 0:
		m.open()
	}
}

// moveKey moves the cursor in the list, or what is seen of the record in full.
func (m *model) moveKey(k string) {
	by := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -m.page(), "ctrl+b": -m.page(), "pgdown": m.page(), "ctrl+f": m.page(),
		"home": -1 << 30, "g": -1 << 30, "end": 1 << 30, "G": 1 << 30,
	}[k]
	switch {
	case by == 0:
	case m.mode == detailMode:
		m.lineTop += by
		m.scroll()
	default:
		m.move(m.cursor + by)
	}
}

// promptKey edits the input of a prompt.
func (m *model) promptKey(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc":
		m.mode = m.before
	case "enter":
		value, was := string(m.input), m.mode
		m.mode = m.before
		if was == searchPrompt {
			m.search = value
			m.find(1)
			return
		}
		m.filter = value
		m.records, m.held, m.cursor, m.top, m.tail = nil, nil, 0, 0, true
		m.total, m.skipped, m.failed, m.failReason = 0, 0, 0, ""
		m.paused, m.dropped = false, 0 // to see what it finds
		m.mode = listMode
		m.feed.start(value)
	case "backspace":
		m.input = m.input[:max(len(m.input)-1, 0)]
	case "ctrl+u":
		m.input = nil
	default:
		m.input = append(m.input, []rune(k.Key().Text)...)
	}
}
