// The page begins here.

import { getKey } from "/page/api.js";
import { classifyPictures, startClassify } from "/page/classify.js";
import { comparePictures, startCompare } from "/page/compare.js";
import { startExamples } from "/page/examples.js";
import { startHits } from "/page/hits.js";
import { startKey } from "/page/key.js";
import { startPhoto } from "/page/photo.js";
import { startDropping } from "/page/pictures.js";
import { searchPictures, similarTo, startSearch } from "/page/search.js";
import { openTab, startTabs } from "/page/tabs.js";
import { startTheme } from "/page/theme.js";
import { startUsage } from "/page/usage.js";
import { startWords } from "/page/words.js";

startTheme();
await startWords();
startSearch();
startHits();
startPhoto(similarTo);
startClassify();
startCompare();
startUsage();
startExamples();
startDropping(() => ({ search: searchPictures, classify: classifyPictures, compare: comparePictures })[openTab]);
startTabs();
startKey();
if (getKey()) document.dispatchEvent(new Event("key"));
document.documentElement.dataset.ready = "yes";
