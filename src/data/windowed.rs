//! Data sets whose samples are windows of a text.

use std::sync::Arc;

use super::{BatchOrder, DataError, Dataset, SampleShape, Samples, Targets, TextError, Vocabulary, Windows, order};

impl Dataset {
    /// A text in memory: its samples are windows of it, random ones in the order of [`BatchOrder::Shuffled`], and one after the
    /// other in that of [`BatchOrder::Sequential`]; each has the tokens one further on as its targets.
    ///
    /// ```
    /// use jostle::data::{BatchOrder, Dataset, Vocabulary};
    ///
    /// let vocabulary = Vocabulary::of_characters("to be or not to be");
    /// let tokens = vocabulary.encode("to be or not to be")?;
    /// let text = Dataset::from_text("mine", tokens, vocabulary)?.with_block(4)?;
    /// assert_eq!(text.len(), 4);
    /// assert_eq!(text.places(BatchOrder::Sequential, 0, 0), [0, 4, 8, 12]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DataError::SampleLabel`] for a token past the vocabulary, [`TextError::TooLong`].
    pub fn from_text(name: &str, tokens: Vec<u32>, vocabulary: Vocabulary) -> Result<Self, DataError> {
        if u32::try_from(tokens.len()).is_err() {
            return Err(TextError::TooLong { name: name.to_owned(), limit: u32::MAX }.into());
        }
        let data = Self::of_windows(name.to_owned(), Windows::new(tokens, Arc::new(vocabulary)));
        data.check()?;
        Ok(data)
    }

    pub(super) fn of_windows(name: String, windows: Windows) -> Self {
        let (length, count) = (windows.block(), windows.count());
        Self {
            name,
            targets: Targets::Next { windows: count, length, vocabulary: windows.vocabulary().size() },
            samples: Samples::Windows(windows),
            shape: SampleShape { channels: 1, height: 1, width: length },
            full_scale: 1.0,
            published: &[],
        }
    }

    /// The windows that its samples are; `None` of other data.
    #[must_use]
    pub fn windows(&self) -> Option<&Windows> {
        match &self.samples {
            Samples::Windows(windows) => Some(windows),
            _ => None,
        }
    }

    /// A text in windows of so many tokens; other data, and windows chosen from a text, as they are.
    ///
    /// # Errors
    /// [`TextError::Short`] where there is none of that length with its targets.
    pub fn with_block(self, length: usize) -> Result<Self, DataError> {
        let Some(windows) = self.windows().filter(|windows| windows.is_text()) else {
            return Ok(self);
        };
        if length == 0 || length >= windows.tokens().len() {
            let (found, expected) = (windows.tokens().len(), length.saturating_add(1));
            return Err(TextError::Short { name: self.name.clone(), length, expected, found }.into());
        }
        Ok(Self::of_windows(self.name.clone(), windows.with_block(length)))
    }

    /// Where an epoch takes its samples from, in the order of their visit: their numbers as [`epoch_order`](super::epoch_order)
    /// has them; of a text the tokens at which its windows begin, shuffled any of them, drawn with replacement by seed and epoch
    /// alone.
    #[must_use]
    pub fn places(&self, order: BatchOrder, seed: u64, epoch: u64) -> Vec<u32> {
        match self.windows() {
            Some(windows) => windows.order(order, seed, epoch),
            None => order::epoch_order(self.len(), order, seed, epoch),
        }
    }

    /// Places are below this.
    pub(crate) fn places_end(&self) -> usize {
        self.windows().map_or(self.len(), Windows::places)
    }

    /// What an evaluation scores of a text: so many windows, always the same, drawn with replacement by `seed`; all of it, its
    /// windows one after the other, where these are no more. Other data as they are.
    #[must_use]
    pub fn scored_windows(&self, most: usize, seed: u64) -> Self {
        match self.windows() {
            Some(windows) if windows.is_text() && most < windows.count() => {
                let places = order::scored_places(windows.places(), most, seed);
                Self::of_windows(self.name.clone(), windows.at(places.into_iter().map(|place| place as usize)))
            }
            _ => self.clone(),
        }
    }

    /// Single windows of a text: the samples of these numbers.
    pub(super) fn select_windows(&self, windows: &Windows, indices: impl Iterator<Item = usize>) -> Self {
        let chosen = windows.at(indices.map(|sample| windows.begin(sample)));
        Self::of_windows(self.name.clone(), chosen)
    }

    /// The tokens and targets of windows that begin at these tokens, as a data set without windows has them.
    pub(super) fn gathered_windows(windows: &Windows, places: impl Iterator<Item = usize>) -> (Samples, Targets) {
        let (mut tokens, mut next) = (Vec::new(), Vec::new());
        for [window, targets] in places.filter_map(|place| windows.window(place)) {
            tokens.extend_from_slice(window);
            next.extend_from_slice(targets);
        }
        let (length, vocabulary) = (windows.block(), windows.vocabulary().size());
        (Samples::U32(tokens), Targets::Tokens { tokens: next, length, vocabulary })
    }
}
