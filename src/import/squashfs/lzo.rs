//! LZO1X, as `Documentation/staging/lzo.rst` of the kernel describes it. Every read and copy is checked: the one
//! crate that does this without unsafe code panics on a hostile block and writes without a limit.

/// Unpacks a block of at most `most` bytes to the end of `out`; `None` if it is damaged.
pub(super) fn unpack(block: &[u8], most: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut work = Work { input: block, most, out };
    // How many literals the last instruction was followed by; 4: a long run.
    let mut state = match *block.first()? {
        17 => return None, // a bitstream version, which squashfs never writes
        first @ 18..=20 => {
            work.byte()?;
            work.literals(usize::from(first) - 17)?;
            usize::from(first) - 17
        }
        first @ 21.. => {
            work.byte()?;
            work.literals(usize::from(first) - 17)?;
            4
        }
        _ => 0,
    };
    loop {
        let instruction = usize::from(work.byte()?);
        let (length, distance, after) = match instruction {
            0..=15 if state == 0 => {
                let length = 3 + work.length(instruction & 15, 15)?;
                work.literals(length)?;
                state = 4;
                continue;
            }
            0..=15 => {
                let high = usize::from(work.byte()?) << 2;
                let near = high + (instruction >> 2) + 1;
                if state == 4 { (3, near + 2048, instruction & 3) } else { (2, near, instruction & 3) }
            }
            16..=31 => {
                let length = 2 + work.length(instruction & 7, 7)?;
                let low = work.word()?;
                let distance = ((instruction & 8) << 11) + (low >> 2);
                if distance == 0 {
                    // The end mark.
                    return work.input.is_empty().then_some(());
                }
                (length, distance + 16384, low & 3)
            }
            32..=63 => {
                let length = 2 + work.length(instruction & 31, 31)?;
                let low = work.word()?;
                (length, (low >> 2) + 1, low & 3)
            }
            64..=127 => {
                let high = usize::from(work.byte()?) << 3;
                (3 + ((instruction >> 5) & 1), high + ((instruction >> 2) & 7) + 1, instruction & 3)
            }
            _ => {
                let high = usize::from(work.byte()?) << 3;
                (5 + ((instruction >> 5) & 3), high + ((instruction >> 2) & 7) + 1, instruction & 3)
            }
        };
        work.copy(distance, length)?;
        work.literals(after)?;
        state = after;
    }
}

struct Work<'a> {
    input: &'a [u8],
    most: usize,
    out: &'a mut Vec<u8>,
}

impl Work<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<usize> {
        let (word, rest) = self.input.split_first_chunk()?;
        self.input = rest;
        Some(usize::from(u16::from_le_bytes(*word)))
    }

    /// A length: the bits of the instruction, or, if these are 0, `most` and what follows.
    fn length(&mut self, bits: usize, most: usize) -> Option<usize> {
        if bits > 0 {
            return Some(bits);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length = length.checked_add(255)?,
                last => return length.checked_add(usize::from(last)),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Option<()> {
        let (run, rest) = self.input.split_at_checked(count)?;
        if count > self.most - self.out.len() {
            return None;
        }
        self.out.extend_from_slice(run);
        self.input = rest;
        Some(())
    }

    /// Copies from what was written; the copy may overlap itself.
    fn copy(&mut self, distance: usize, length: usize) -> Option<()> {
        let from = self.out.len().checked_sub(distance)?;
        if length > self.most - self.out.len() {
            return None;
        }
        for at in from..from + length {
            self.out.push(*self.out.get(at)?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(block: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        unpack(block, most, &mut out).map(|()| out)
    }

    const END: [u8; 3] = [17, 0, 0];

    #[test]
    fn runs_and_copies_unpack_as_the_description_says() {
        // 4 literals, then length 3 + 1 from distance 4 (instruction 64..127), then the end.
        let block = [&[17 + 4, b'a', b'b', b'c', b'd', 0b0110_1100, 0][..], &END].concat();
        assert_eq!(unpacked(&block, 100).unwrap(), b"abcdabcd");
        // A run of 3 + 15 + 255 + 1 literals by instruction 0.
        let run = vec![7_u8; 274];
        let block = [&[0, 0, 1][..], &run, &END].concat();
        assert_eq!(unpacked(&block, 274).unwrap(), run);
        assert_eq!(unpacked(&block, 273), None, "more than a block may hold");
        // An overlapping copy: length 2 + 3 from distance 1 (instruction 32..63).
        let block = [&[17 + 4, 1, 2, 3, 9, 32 + 3, 0, 0][..], &END].concat();
        assert_eq!(unpacked(&block, 100).unwrap(), [1, 2, 3, 9, 9, 9, 9, 9, 9]);
    }

    #[test]
    fn a_damaged_block_is_none_wherever_it_is_cut_and_whatever_is_in_it() {
        let block = [&[17 + 4, b'a', b'b', b'c', b'd', 0b0110_1100, 0][..], &END].concat();
        for end in 0..block.len() {
            assert_eq!(unpacked(&block[..end], 100), None, "cut at {end}");
        }
        assert_eq!(unpacked(&[&block[..], &[0]].concat(), 100), None, "something follows");
        for far in [[0b0110_1100, 1], [0b0111_0000, 0]] {
            let block = [&[17 + 4, 1, 2, 3, 4][..], &far, &END].concat();
            assert_eq!(unpacked(&block, 100), None, "from before the beginning");
        }
        for seed in 0..2000_u32 {
            let wild: Vec<u8> =
                (0..64).map(|n| (seed.wrapping_mul(2_654_435_761).rotate_left(n) >> 5) as u8).collect();
            assert!(unpacked(&wild, 8192).is_none_or(|out| out.len() <= 8192));
        }
    }
}
