package http2

import "encoding/binary"

// Settings: RFC 9113 section 6.5.2, RFC 8441 section 3.
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingStreams       = 0x3
	settingWindow        = 0x4
	settingMaxFrame      = 0x5
	settingMaxHeaderList = 0x6
	settingConnect       = 0x8
)

// settings are what the peer has said that concerns what we send.
type settings struct {
	streams         uint32
	window          uint32
	maxFrame        uint32
	extendedConnect bool
}

func defaultSettings() settings {
	// RFC 9113 has no limit of streams until it is announced; a hundred is what it recommends as the least.
	return settings{streams: 100, window: defaultWindow, maxFrame: defaultFrame}
}

// queueGreeting appends our settings and opens the connection's window: only streams' windows limit.
func (c *conn) queueGreeting() {
	p := make([]byte, 0, 48)
	set := func(id uint16, v uint32) {
		p = binary.BigEndian.AppendUint16(p, id)
		p = binary.BigEndian.AppendUint32(p, v)
	}
	if c.server {
		set(settingStreams, c.opts.MaxStreams)
		if c.opts.ExtendedConnect {
			set(settingConnect, 1)
		}
	} else {
		set(settingPush, 0)
	}
	set(settingWindow, c.opts.StreamWindow)
	set(settingMaxFrame, c.opts.MaxFrame)
	set(settingMaxHeaderList, uint32(min(c.opts.MaxHeader, maxWindow)))
	c.queueFrame(frameSettings, 0, 0, p)
	c.queueWindow(0, maxWindow-defaultWindow)
}

// readSettings takes a SETTINGS frame: RFC 9113 section 6.5.
func (c *conn) readSettings(f frame, p []byte) error {
	if f.stream != 0 {
		return connErr(ProtocolError, "SETTINGS on a stream")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.has(flagAck) {
		if len(p) != 0 {
			return connErr(FrameSizeError, "SETTINGS with ACK and a payload")
		}
		if !c.acked {
			c.acknowledged()
			return nil
		}
		return c.useless()
	}
	if len(p)%6 != 0 {
		return connErr(FrameSizeError, "SETTINGS of a size that is no multiple of 6")
	}
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.queueFrame(frameSettings, flagAck, 0, nil)
	c.out.replies++
	if c.greeted {
		return c.useless()
	}
	c.greeted = true
	close(c.ready)
	for _, st := range c.all {
		st.writing.Signal()
	}
	return nil
}

// acknowledged: from here on the peer goes by our settings. What it may still send on streams that it opened, or that were
// opened for it, before changes with them, below zero if need be.
func (c *conn) acknowledged() {
	c.acked = true
	c.dec.Acknowledged()
	for _, st := range c.all {
		st.credit += int64(c.opts.StreamWindow) - defaultWindow
		st.replenish()
	}
}

func (c *conn) setting(id uint16, v uint32) error {
	switch id {
	case settingTableSize:
		c.enc.SetPeerTableSize(v)
	case settingPush:
		if v > 1 || !c.server && v == 1 {
			return connErr(ProtocolError, "ENABLE_PUSH is not 0 or 1, or a server's")
		}
	case settingStreams:
		c.peer.streams = v
	case settingWindow:
		return c.resizeWindows(v)
	case settingMaxFrame:
		if v < defaultFrame || v > largestMaxFrame {
			return connErr(ProtocolError, "MAX_FRAME_SIZE out of bounds")
		}
		c.peer.maxFrame = v
	case settingConnect:
		if v > 1 || v == 0 && c.peer.extendedConnect {
			return connErr(ProtocolError, "ENABLE_CONNECT_PROTOCOL is not 0 or 1, or was taken back")
		}
		c.peer.extendedConnect = v == 1
	}
	return nil // unknown ones are ignored: RFC 9113 section 6.5.2
}

// resizeWindows: a new initial window changes those of all open streams, below zero if need be (RFC 9113 section 6.9.2).
func (c *conn) resizeWindows(v uint32) error {
	if v > maxWindow {
		return connErr(FlowControlError, "INITIAL_WINDOW_SIZE out of bounds")
	}
	more := int64(v) - int64(c.peer.window)
	c.peer.window = v
	for _, st := range c.all {
		if st.id == 0 {
			continue // it gets the new one with its number
		}
		if st.sending.window += more; st.sending.window > maxWindow {
			return connErr(FlowControlError, "INITIAL_WINDOW_SIZE makes a window too large")
		}
		st.writing.Signal()
	}
	return nil
}
