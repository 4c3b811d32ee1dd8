//! Dictionaries of structured fields (RFC 8941 §3.2), as far as a priority needs them.
//!
//! Everything is checked for its syntax, since one error voids the whole field (RFC 8941 §4.2); only integers and
//! booleans keep their value.

/// What a member of a dictionary holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Boolean(bool),
    /// Decimal, string, token, byte sequence or inner list.
    Other,
}

/// Calls `member` for each key and value; `None` when the field is no dictionary.
pub(super) fn parse(field: &[u8], mut member: impl FnMut(&[u8], Value)) -> Option<()> {
    let mut input = Input(field.trim_ascii_end());
    input.skip(|byte| byte == b' ');
    if input.is_empty() {
        return Some(());
    }
    loop {
        let key = input.key()?;
        let value = if input.eat(b'=') { input.item_or_list()? } else { Value::Boolean(true) };
        input.parameters()?;
        member(key, value);
        input.skip(is_optional_whitespace);
        if input.is_empty() {
            return Some(());
        }
        if !input.eat(b',') {
            return None;
        }
        input.skip(is_optional_whitespace);
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.next();
        }
        is_next
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.0.iter().position(|byte| !is_skipped(*byte)).unwrap_or(self.0.len());
        let (skipped, rest) = self.0.split_at(len);
        self.0 = rest;
        skipped
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.peek()?, b'a'..=b'z' | b'*') {
            return None;
        }
        Some(
            self.skip(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')),
        )
    }

    fn item_or_list(&mut self) -> Option<Value> {
        if !self.eat(b'(') {
            return self.item();
        }
        loop {
            self.skip(|byte| byte == b' ');
            if self.eat(b')') {
                return Some(Value::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Value> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => self.boolean(),
            b':' => self.byte_sequence(),
            b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
                self.skip(is_token);
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_negative = self.eat(b'-');
        let whole = self.skip(|byte| byte.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.skip(|byte| byte.is_ascii_digit());
            let is_valid = (1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len());
            return is_valid.then_some(Value::Other);
        }
        if !(1..=15).contains(&whole.len()) {
            return None;
        }
        let value = whole.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Value::Integer(if is_negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Value> {
        self.next();
        loop {
            match self.next()? {
                b'"' => return Some(Value::Other),
                b'\\' if !matches!(self.next()?, b'"' | b'\\') => return None,
                b'\\' | 0x20..=0x7e => {}
                _ => return None,
            }
        }
    }

    fn boolean(&mut self) -> Option<Value> {
        self.next();
        match self.next()? {
            b'0' => Some(Value::Boolean(false)),
            b'1' => Some(Value::Boolean(true)),
            _ => None,
        }
    }

    fn byte_sequence(&mut self) -> Option<Value> {
        self.next();
        self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        self.eat(b':').then_some(Value::Other)
    }
}

const fn is_optional_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'/' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\''
        | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}
