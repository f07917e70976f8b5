//! Fills the page's template in once from left to right, so that no value is expanded again.

use std::fmt::Write;

/// `template` with each `{{name}}` replaced by what `write` writes for it.
pub(crate) fn fill(template: &str, mut write: impl FnMut(&str, &mut String)) -> String {
    let mut page = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        write(name, &mut page);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Writes a text so that it has no markup, between tags or in a quoted attribute.
pub(crate) fn escape(text: &str, page: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(page, "&#{};", u32::from(letter));
            }
            _ => page.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_place_is_left_alone() {
        let page = fill("<p>{{one}}</p>{{two}}.", |name, page| match name {
            "one" => page.push_str("{{two}}"),
            _ => page.push_str(name),
        });
        assert_eq!(page, "<p>{{two}}</p>two.");
        assert_eq!(fill("a {{b", |_, _| ()), "a b");
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        let mut page = String::new();
        escape("<b a=\"1\" c='2'>&amp;", &mut page);
        assert_eq!(page, "&lt;b a=&#34;1&#34; c=&#39;2&#39;&gt;&amp;amp;");
    }
}
