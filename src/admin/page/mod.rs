//! The files of the page on the admin port.
//!
//! They are static: the page's script reads `/status.json` every few seconds and draws it. Every
//! value is set as text, never as markup, and the page loads nothing from elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `page.html`, `page.css` | structure and style |
//! | `page.js` | reads the status, and puts figures and tables in their places |
//! | `chart.js`, `chart.css` | draw the chart |
//! | `parts.js` | describes the health of each part |
//! | `format.js` | writes numbers and times |

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, content type and text of each file. Without an icon, browsers request a missing one.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page.html")),
    ("/page.css", CSS, include_str!("page.css")),
    ("/chart.css", CSS, include_str!("chart.css")),
    ("/page.js", JAVASCRIPT, include_str!("page.js")),
    ("/chart.js", JAVASCRIPT, include_str!("chart.js")),
    ("/format.js", JAVASCRIPT, include_str!("format.js")),
    ("/parts.js", JAVASCRIPT, include_str!("parts.js")),
    ("/icon.svg", SVG, include_str!("icon.svg")),
];

/// Content type and text of the file at a path.
pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let mut files = FILES.iter();
    let file = files.find(|(at, ..)| *at == path);
    file.map(|(_, kind, text)| (*kind, *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (path, kind, text) in FILES {
            // The names of namespaces are no addresses that a browser loads.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !text.contains("http:") && !text.contains("https:"),
                "{path}"
            );
            assert!(*kind == JAVASCRIPT || !text.contains("//"), "{path}");
        }
    }

    #[test]
    fn the_page_has_no_inline_script_or_style() {
        let (_, page) = file("/").unwrap();
        for inline in [" style=", " onclick=", " onload=", "<style"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("<script type=\"module\" src=\"page.js\"></script>"));
    }

    #[test]
    fn no_script_writes_markup() {
        for (path, kind, text) in FILES {
            if *kind == JAVASCRIPT {
                for markup in [
                    "innerHTML",
                    "outerHTML",
                    "insertAdjacent",
                    "setHTML",
                    "DOMParser",
                    "document.write",
                    "eval",
                ] {
                    assert!(!text.contains(markup), "{markup} in {path}");
                }
            }
        }
    }

    #[test]
    fn the_page_without_a_script_links_to_its_figures() {
        let (_, page) = file("/").unwrap();
        let (_, without) = page.split_once("<noscript>").unwrap();
        let (without, _) = without.split_once("</noscript>").unwrap();
        for link in ["href=\"status.json\"", "href=\"metrics\""] {
            assert!(without.contains(link), "{link}");
        }
    }
}
