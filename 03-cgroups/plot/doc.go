// Package plot draws a run's measurements as an SVG picture: panels below each
// other over one time axis, each with lines, a limit and marks.
//
// SVG is text: a line is its points, "x,y x,y …", with y growing downwards. So a
// picture takes a few lines of code and no library, it can be read in a diff,
// and the same measurements always give the same bytes.
package plot
