//! A query's text as words, signs and literals.

use super::syntax::SyntaxError;

/// A piece of a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A name in double brackets, which is never a keyword.
    Name(String),
    /// A quoted text.
    Text(String),
    Number(serde_json::Number),
    /// `*`, `,`, `.`, brackets and comparisons.
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 19] =
    ["!=", "<>", "<=", ">=", "*", ",", ".", "(", ")", "[", "]", "=", "<", ">", "+", "/", "%", ";", "-"];

/// Takes `query` apart; each token with the place (in characters, from 1) where it begins.
pub(super) fn tokens(query: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let at = query[..query.len() - rest.len()].chars().count() + 1;
        let (token, length) = match first {
            _ if first.is_whitespace() => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            '\'' | '"' => quoted(rest, first, at)?,
            _ if rest.starts_with("[[") => {
                let end = rest.find("]]").ok_or_else(|| SyntaxError::new(at, "[[ is not closed by ]]"))?;
                (Token::Name(rest[2..end].to_owned()), end + 2)
            }
            '0'..='9' => number(rest, at)?,
            '-' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) && begins_a_value(&tokens) => {
                number(rest, at)?
            }
            _ if is_word(first) => {
                let end = rest.find(|next| !is_word(next)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| SyntaxError::new(at, format!("{first:?} means nothing here")))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push((token, at));
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Whether a minus after `tokens` belongs to a number.
fn begins_a_value(tokens: &[(Token, usize)]) -> bool {
    match tokens.last() {
        Some((Token::Sign(sign), _)) => !matches!(*sign, ")" | "]"),
        Some((Token::Word(_), _)) | None => true,
        Some(_) => false,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// A text in quotes; a quote in it is doubled, or escaped by a backslash as the SDKs' samples do.
fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token, usize), SyntaxError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((place, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match c {
            '\\' if next == Some(quote) || next == Some('\\') => {
                text.extend(next);
                chars.next();
            }
            _ if c == quote && next == Some(quote) => {
                text.push(quote);
                chars.next();
            }
            _ if c == quote => return Ok((Token::Text(text), place + 1)),
            _ => text.push(c),
        }
    }
    Err(SyntaxError::new(at, "a quote is not closed"))
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), SyntaxError> {
    let mut end = usize::from(rest.starts_with('-'));
    let mut previous = ' ';
    for c in rest[end..].chars() {
        let exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent_sign) {
            break;
        }
        previous = c;
        end += 1;
    }
    let number = rest[..end].parse().map_err(|_| SyntaxError::new(at, format!("{:?} is no number", &rest[..end])))?;
    Ok((Token::Number(number), end))
}
